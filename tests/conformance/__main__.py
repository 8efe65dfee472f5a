"""`make conformance`: the real Codex CLI, Claude Code and SDKs, through ccproxy, against fakes of the upstreams. Exit code 1 if a row fails.

    python -m tests.conformance [--only REGEX] [--no-write]

CCPROXY_CONFORMANCE_CACHE names the folder for the programs; the default is in the user's cache folder.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time

from tests.conformance import programs, report, sdk_rows  # noqa: F401 - sdk_rows adds its rows
from tests.conformance.bench import Bench, Failed, Skipped, alone_with_loopback, bench, raise_loopback
from tests.conformance.report import Result
from tests.conformance.rows import CLAUDE, CODEX, ROWS, Row


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description="Real clients through ccproxy.")
    parser.add_argument(
        "--only", default=".", metavar="REGEX", help="rows whose name matches; the page is not written then"
    )
    parser.add_argument("--no-write", action="store_true", help="leave the page of the documentation as it is")
    arguments = parser.parse_args()
    programs.install()
    alone_with_loopback()
    raise_loopback()
    results = []
    with bench() as made:
        for each in ROWS:
            if re.search(arguments.only, each.name):
                results.append(_run(each, made))
                _print(results[-1])
        found = report.versions(made.claude_program, made.codex_program)
    failed = [each for each in results if each.outcome == "FAIL"]
    print(
        f"\n{len(results) - len(failed)} passed or skipped, {len(failed)} failed; "
        + ", ".join(f"{name} {value}" for name, value in found.items())
    )
    if arguments.only == "." and not arguments.no_write:
        report.write(found, results)
        print(f"written: {report.display(report.PAGE)}")
    return 1 if failed else 0


def _run(each: Row, made: Bench) -> Result:
    started = time.monotonic()
    outcome, why = "pass", ""
    made.clear()
    program = {CLAUDE: made.claude_program, CODEX: made.codex_program}
    if each.client in program and program[each.client] is None:
        outcome, why = "skipped", f"{each.client} is not installed"
    else:
        try:
            each.run(made)
        except Skipped as error:
            outcome, why = "skipped", str(error)
        except Failed as error:
            outcome, why = "FAIL", str(error)
        except subprocess.TimeoutExpired as error:
            outcome, why = "FAIL", f"did not end within {error.timeout:.0f} s"
        except Exception as error:  # a row must not end the others
            outcome, why = "FAIL", f"{type(error).__name__}: {error}"
    return Result(each.client, each.route, each.direction, each.what, outcome, why, time.monotonic() - started)


def _print(result: Result) -> None:
    name = f"{result.client} -> {result.route}: {result.what}"
    print(f"{result.outcome:<8}{result.seconds:5.1f} s  {name}", flush=True)
    if result.why:
        print(f"{'':17}{' '.join(result.why.split())[:300]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
