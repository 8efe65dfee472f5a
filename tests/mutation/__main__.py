"""`make mutants`: a random sample of small defects, made with mutmut in a copy of the tree. Prints those that no test notices.

    python -m tests.mutation [--count 200] [--seed 1] [--processes 2] [--at-least 92] [PACKAGE…]

For each mutant mutmut runs the tests that reach the changed function, until one fails. A mutant that makes them hang counts as killed. Exit code 1 if fewer
than `--at-least` percent are killed, 2 if the tests fail without a mutant. A line that ends in `# pragma: no mutate` is left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]

TESTS = {
    "auth": ["tests/unit/auth", "tests/security/test_whose_key.py"],
    "permissions": ["tests/unit/permissions", "tests/unit/providers/claude_sdk/test_tool_permissions.py"],
    "providers": ["tests/unit/providers", "tests/golden", "tests/security/test_where_to.py", "tests/gateway/test_routes.py"],
    "translate": ["tests/unit/translate", "tests/golden", "tests/property"],
}  # fmt: skip
"""The packages that are sampled, each with its fast tests. Tests that start programs would take most of the time and kill few more."""

KILLED = {"killed", "timeout", "segfault", "caught by type check", "skipped"}

CONFIGURATION = """
[tool.mutmut]
source_paths = ["ccproxy"]
only_mutate = {files}
do_not_mutate_patterns = ['^\\s*(log|logger)\\.']
pytest_add_cli_args = {options}
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
timeout_multiplier = 4.0
timeout_constant = 5.0
track_dependencies = false
use_git_change_detection = false
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description="A sample of mutants.")
    parser.add_argument(
        "packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(TESTS)}; all of them if none is named"
    )
    parser.add_argument("--count", type=int, default=200, help="how many mutants")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same sample of the same code")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--at-least", type=float, default=92, metavar="PERCENT")
    arguments = parser.parse_args()
    packages = arguments.packages or list(TESTS)
    if unknown := set(packages) - set(TESTS):
        parser.error(f"no such package: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="ccproxy-mutants-") as folder:
        copy = Path(folder)
        for name in ("ccproxy", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        draw = random.Random(arguments.seed)
        files = _files(copy, packages, arguments.count, draw)
        tests = sorted({test for package in packages for test in TESTS[package]})
        shutil.copy(ROOT / "pyproject.toml", copy)
        failing = _failing(copy, tests, arguments.processes)
        if failing:
            print(f"left out, since they fail without a mutant: {', '.join(failing)}", flush=True)
        options = ["-p", "no:xdist", "-p", "no:cacheprovider", *(f"--deselect={test}" for test in failing)]
        with (copy / "pyproject.toml").open("a", encoding="utf-8") as configuration:
            configuration.write(
                CONFIGURATION.format(files=[str(file) for file in files], tests=tests, options=json.dumps(options))
            )
        with contextlib.chdir(copy):
            names = _names(files, draw, arguments.processes)[: arguments.count]
        print(f"{len(names)} mutants, seed {arguments.seed}", flush=True)
        return _run(copy, names, arguments.processes, arguments.at_least)


def _failing(copy: Path, tests: list[str], processes: int) -> list[str]:
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", str(processes), "--dist", "worksteal", *tests],
        cwd=copy, stdout=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    failed = copy / ".pytest_cache" / "v" / "cache" / "lastfailed"
    return sorted(json.loads(failed.read_text("utf-8"))) if failed.exists() else []


def _files(copy: Path, packages: list[str], count: int, draw: random.Random) -> Counter[Path]:
    """How many mutants to take from which file, some more than needed, since a file of tables may have none.

    A file is drawn as often as its size makes likely: making all mutants of all files would take minutes.
    """
    files = sorted(
        file.relative_to(copy) for package in packages for file in (copy / "ccproxy" / package).rglob("*.py")
    )
    return Counter(draw.choices(files, [(copy / file).stat().st_size for file in files], k=count + count // 5))


def _names(files: Counter[Path], draw: random.Random, processes: int) -> list[str]:
    with ProcessPoolExecutor(processes) as pool:
        names = [
            name
            for (_, number), made in zip(files.items(), pool.map(_mutants_of, files), strict=True)
            for name in draw.sample(made, min(number, len(made)))
        ]
    draw.shuffle(names)
    return names


def _mutants_of(file: Path) -> list[str]:
    from mutmut.mutation.file_mutation import mutate_file_contents

    module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    return [f"{module}.{name}" for name in mutate_file_contents(str(file), file.read_text("utf-8")).mutant_names]


def _run(copy: Path, names: list[str], processes: int, at_least: float) -> int:
    run = subprocess.run(
        [sys.executable, "-m", "mutmut", "run", "--max-children", str(processes), *names],
        cwd=copy, capture_output=True, text=True, check=False,
    )  # fmt: skip
    listed = _mutmut(copy, "results", "--all", "true")
    outcomes = {
        name: outcome for name, outcome in re.findall(r"^ +(\S+): (.+)$", listed, re.MULTILINE) if name in names
    }
    if run.returncode or set(outcomes) != set(names) or "not checked" in outcomes.values():
        print(
            re.sub(r"[^\n]*\r", "", run.stdout)[-6000:], run.stderr[-2000:], "mutmut did not come to its end", sep="\n"
        )
        return 2
    alive = [name for name, outcome in outcomes.items() if outcome not in KILLED]
    for name in alive:
        print(f"\n{outcomes[name]}: {name}")
        print(
            "\n".join(line for line in _mutmut(copy, "show", name).splitlines() if line[:2] not in {"# ", "--", "++"})
        )
    percent = 100 * (1 - len(alive) / len(names))
    counts = ", ".join(f"{number} {outcome}" for outcome, number in Counter(outcomes.values()).most_common())
    print(f"\n{percent:.1f} % killed of {len(names)}: {counts}")
    return int(percent < at_least)


def _mutmut(copy: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
