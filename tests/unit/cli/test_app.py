"""The command line: exit codes, error messages and help."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ccproxy import __version__
from ccproxy.cli.app import build


def output(result: Result) -> str:
    assert "Traceback" not in result.output
    return result.output


@pytest.mark.parametrize(
    ("arguments", "env", "code", "words"),
    [
        (["--host", "0.0.0.0"], {}, 2, ["0.0.0.0", "auth_token"]),
        (["--port", "70000"], {}, 2, ["command line", "server.port", "70000"]),
        (["--port", "many"], {}, 2, ["--port"]),
        (["--log-level", "loud"], {}, 2, ["server.log_level", "loud", "debug"]),
        ([], {"SERVER__PORTT": "1"}, 2, ["SERVER__PORTT", "port"]),
        (["--config", "absent.toml"], {}, 2, ["absent.toml"]),
        (["--config", "wrong.toml"], {}, 2, ["wrong.toml:2", "server.prot", "port"]),
        (["--no-such-option"], {}, 2, ["--no-such-option"]),
        (["--host", "192.0.2.1", "--auth-token", "t"], {}, 1, ["192.0.2.1", "--host"]),
        (["--set", "no_such=1"], {}, 1, ["no_such"]),
        (["-s", "absent.py"], {}, 1, ["absent.py"]),
    ],
)
def test_errors_that_prevent_a_start(
    run: CliRunner, arguments: list[str], env: dict[str, str], code: int, words: list[str]
) -> None:
    Path("wrong.toml").write_text("[server]\nprot = 1\n")
    port = [] if "--port" in arguments else ["--port", "0"]
    result = run.invoke(build(()), ["serve", *port, *arguments], env=env)
    assert result.exit_code == code, result.output
    for word in words:
        assert word in output(result)
    assert "listens on" not in result.output


def test_no_secret_in_an_error(run: CliRunner) -> None:
    result = run.invoke(build(()), ["serve", "--auth-token", "hush-hush", "--port", "x"])
    assert "hush" not in output(result)
    result = run.invoke(build(()), ["serve", "--auth-token", "hush-hush", "--port", "70000"])
    assert "hush" not in output(result)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--help"], ["serve", "config", "addon-path"]),
        (
            ["serve", "--help"],
            ["--port", "--web", "--config", "--auth-token", "--reload", "--set", "--script", "--record", "Example:"],
        ),
        (["config", "--help"], ["path", "trust"]),
        (["config", "trust", "--help"], ["Example:"]),
        (["--version"], [f"ccproxy {__version__}"]),
        (["addon-path"], ["script.py"]),
        (["config", "path"], ["config.toml"]),
    ],
)
def test_commands_that_only_print(run: CliRunner, arguments: list[str], words: list[str]) -> None:
    result = run.invoke(build(()), arguments)
    assert result.exit_code == 0
    for word in words:
        assert word in output(result)


@pytest.mark.parametrize("group", [[], ["auth"], ["config"], ["permissions"]])
def test_no_summary_is_cut_at_80_columns(run: CliRunner, group: list[str]) -> None:
    lines = run.invoke(build(()), [*group, "--help"], env={"COLUMNS": "80"}).output.splitlines()
    summaries = lines[lines.index("Commands:") + 1 :]
    assert len(summaries) >= 4
    assert [line for line in summaries if not line.endswith(".")] == []


def test_planned_options_are_not_shown(run: CliRunner) -> None:
    shown = run.invoke(build(()), ["serve", "--help"]).output
    assert "--replay" not in shown
    assert run.invoke(build(()), ["serve", "--replay", "x"]).exit_code == 2
