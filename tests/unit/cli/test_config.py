"""`ccproxy config`: the file in use, and which ones are trusted."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from ccproxy.cli.app import build


def output(result: Result) -> str:
    assert "Traceback" not in result.output
    return result.output


def test_config_path_prints_the_file_in_use(run: CliRunner, tmp_path: Path) -> None:
    path = tmp_path / "ccproxy.toml"
    path.write_text("")
    assert run.invoke(build(()), ["config", "path"]).output.strip() == str(path)


def test_config_trust(run: CliRunner) -> None:
    result = run.invoke(build(()), ["config", "trust"])
    assert result.exit_code == 2
    assert ".ccproxy.toml" in output(result)
    assert run.invoke(build(()), ["config", "trust", "absent.toml"]).exit_code == 1
    Path("ccproxy.toml").write_text("[server]\nport = 'x'\n")  # a trusted file may be wrong
    result = run.invoke(build(()), ["config", "trust"])
    assert result.exit_code == 0
    assert "ccproxy.toml is trusted" in output(result)
