"""`ccproxy usage` on a real ledger."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from ccproxy.cli.usage import data_folder, usage
from ccproxy.ledger.database import Ledger
from ccproxy.ledger.records import LIST_PRICE, Outcome, Record
from ccproxy.translate.usage import Tokens, Usage

app = typer.Typer()
app.command()(usage)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return tmp_path


def exchange(flow: str, **fields: object) -> Record:
    plain = {
        "flow": flow,
        "started": datetime.now(UTC),
        "provider": "claude_api",
        "route": "/api",
        "client_format": None,
        "upstream_format": None,
        "method": "POST",
        "path": "/api/v1/messages",
        "status": 200,
        "outcome": Outcome.FINISHED,
        "client": "claude-code",
    }
    return Record(**(plain | fields))  # type: ignore[arg-type]


@pytest.fixture
def some(home: Path) -> None:
    ledger = Ledger(data_folder() / "ledger.sqlite3")
    ledger.start()
    tokens = Usage(Tokens(input=1000, cache_read=1_234_567, cache_write_5m=200, output=300))
    model = "a-model-with-a-very-long-name-that-no-terminal-of-eighty-columns-could-show-in-full-2026-11-22"
    ledger.put(exchange("1", model_answered=model, usage=tokens, price=Decimal("1.5"), label=LIST_PRICE))
    ledger.put(exchange("2", model_answered="gpt-99", usage=tokens))
    ledger.put(exchange("3", model_answered=model, usage=tokens))
    assert ledger.close()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_nothing_yet(home: Path) -> None:
    result = run()
    assert (result.exit_code, result.stdout) == (0, "No exchanges since 7d.\n")
    assert run("--since", "all").stdout == "No exchanges yet.\n"
    assert json.loads(run("--json").stdout)["lines"] == []
    assert not list(home.iterdir())


def test_table_in_a_pipe_is_plain_and_whole(some: None) -> None:
    result = run()
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "model",
        "requests",
        "failed",
        "input",
        "cache",
        "read",
        "written",
        "output",
        "cache",
        "hits",
        "cost",
    ]
    assert "a-model-with-a-very-long-name-that-no-terminal-of-eighty-columns-could-show-in-full-2026-11-22" in lines[1]
    assert lines[1].split()[1:] == ["2", "-", "2000", "2.469M", "400", "600", "100%", "$1.50*", "+", "1", "unknown"]
    assert lines[2].split() == ["gpt-99", "1", "-", "1000", "1.235M", "200", "300", "100%", "unknown"]
    assert lines[3].split()[0] == "total"
    assert "list price, not your bill" in lines[4]
    assert "2 exchanges of unknown cost" in lines[5]


def test_names_from_clients_do_nothing_to_the_terminal(home: Path) -> None:
    ledger = Ledger(data_folder() / "ledger.sqlite3")
    ledger.start()
    ledger.put(exchange("1", model_asked="a[/b][red]c\x1b]0;title\x07", session="[link=x]"))
    assert ledger.close()
    assert run().stdout.splitlines()[1].startswith("a[/b][red]c?]0;title? ")
    assert run("--by", "session").stdout.splitlines()[1].startswith("[link=x] ")


@pytest.mark.parametrize("by", ["model", "provider", "session", "client", "day"])
def test_every_grouping(some: None, by: str) -> None:
    report = json.loads(run("--by", by, "--json").stdout)
    assert report["by"] == by
    assert report["total"]["requests"] == 3
    assert all(by in line for line in report["lines"])
    assert run("--by", by).exit_code == 0


def test_csv(some: None) -> None:
    lines = list(csv.DictReader(io.StringIO(run("--csv").stdout)))
    assert lines[1]["model"] == "gpt-99"
    assert lines[1]["cost_usd"] == ""
    assert lines[0]["cost_usd"] == "1.5"


@pytest.mark.parametrize(
    "name", ["=cmd|'/C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\x1b[31mred", "|x", "%x"]
)
def test_names_from_clients_are_no_formulas_in_a_spreadsheet(home: Path, name: str) -> None:
    ledger = Ledger(data_folder() / "ledger.sqlite3")
    ledger.start()
    ledger.put(exchange("1", model_asked=name))
    assert ledger.close()
    printed = run("--csv").stdout
    assert "\x1b" not in printed
    (line,) = csv.DictReader(io.StringIO(printed))
    assert line["model"].lstrip("'") == name.replace("\x1b", "?").replace("\t", "?").replace("\r", "?")
    assert line["model"][0] not in "=+-@|%\t\r"


@pytest.mark.parametrize("arguments", [["--since", "yesterday"], ["--by", "moon"], ["--json", "--csv"]])
def test_wrong_usage(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_ledger_that_cannot_be_read(home: Path) -> None:
    path = data_folder() / "ledger.sqlite3"
    path.parent.mkdir()
    path.write_bytes(b"somebody's thesis" * 100)
    result = run()
    assert result.exit_code == 1
    assert result.stderr == (
        f"ccproxy usage: The ledger cannot be read: {path} is not a SQLite database. Move it away, and ccproxy makes a new one\n"
    )


def test_prices_that_cannot_be_fetched(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genai_prices.update_prices.DEFAULT_UPDATE_URL", "http://127.0.0.1:9/prices.json")
    result = run("--update-prices")
    assert result.exit_code == 1
    assert "no newer prices from http://127.0.0.1:9/prices.json" in result.stderr


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"TERM": "xterm-256color"}, "\x1b[1;36mmodel"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "\x1b[1mmodel"),
        ({"TERM": "dumb"}, "model"),
    ],
)
def test_a_terminal_of_eighty_columns_with_and_without_colour(
    some: None, settings: dict[str, str], header: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "CI", "COLORTERM"}}
    code = "import typer\nfrom ccproxy.cli.usage import usage\ntyper.run(usage)"
    controller, terminal = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-c", code], stdout=terminal, env={**environment, "COLUMNS": "80", **settings}, check=True
        )
        shown = os.read(controller, 65536).decode()
    finally:
        os.close(controller)
        os.close(terminal)
    lines = shown.splitlines()
    assert lines[0].startswith(header)
    assert ("\x1b" in shown) is (settings["TERM"] != "dumb")
    assert any(line.startswith("gpt-99") and "unknown" in line for line in lines)
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
