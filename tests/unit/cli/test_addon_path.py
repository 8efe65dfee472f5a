"""`ccproxy addon-path`."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from ccproxy.cli.app import build


def test_the_script_of_addon_path_exists(run: CliRunner) -> None:
    assert Path(run.invoke(build(()), ["addon-path"]).output.strip()).is_file()
