"""The table: on the terminal while it runs, and as a page of the documentation with the versions that it was made with."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.conformance.programs import ROOT, Program

PAGE = ROOT / "docs" / "reference" / "conformance.md"
RESULTS = ROOT / "docs" / "reference" / "conformance.json"
"""What each Python's run found: the page shows them side by side."""


@dataclass
class Result:
    """One row's outcome. `why` is empty where it passed."""

    client: str
    route: str
    direction: str
    what: str
    outcome: str
    why: str = ""
    seconds: float = 0.0


def versions(claude: Program | None, codex: Program | None) -> dict[str, str]:
    """Of everything that took part."""
    return {
        "Python": platform.python_version(),
        "ccproxy": version("ccproxy-api"),
        "mitmproxy": version("mitmproxy"),
        "Claude Code": claude.version if claude else "-",
        "Codex CLI": codex.version if codex else "-",
        "Anthropic SDK": version("anthropic"),
        "OpenAI SDK": version("openai"),
    }


def write(found: dict[str, str], results: list[Result]) -> None:
    """Add this Python's results to those of other versions, and write the page."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    key = ".".join(found["Python"].split(".")[:2])
    rows = [{name: value for name, value in asdict(each).items() if name not in {"seconds", "why"}} for each in results]
    known[key] = {"date": datetime.now(UTC).date().isoformat(), "versions": found, "rows": rows}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(known), encoding="utf-8")


def page(known: dict[str, Any]) -> str:
    """Return the page of the documentation."""
    pythons = sorted(known, key=lambda name: tuple(map(int, name.split("."))))
    names = list(known[pythons[0]]["versions"])
    lines = [
        "# Conformance",
        "",
        "`make conformance` runs the real programs and SDKs through a real `ccproxy serve` against fake upstreams on this machine, and writes this page.",
        "*Byte for byte* means that both sides of ccproxy were compared: query, headers (with order and spelling) and bodies are the same, except for",
        "the credential, headers of the connection, and ccproxy's own `x-ccproxy-` headers on responses.",
        "",
        _line(["", *(f"Python {name}" for name in pythons)]),
        _line(["---"] * (len(pythons) + 1)),
        *(_line([name, *(known[python]["versions"].get(name, "-") for python in pythons)]) for name in names),
        _line(["date", *(known[python]["date"] for python in pythons)]),
    ]
    outcomes: dict[tuple[str, str, str, str], dict[str, str]] = {}
    for python in pythons:
        for each in known[python]["rows"]:
            key = (each["client"], each["route"], each["direction"], each["what"])
            outcomes.setdefault(key, {})[python] = each["outcome"]
    for client in dict.fromkeys(key[0] for key in outcomes):
        lines += [
            "",
            f"## {client}",
            "",
            _line(["route", "handling", "feature", *pythons]),
            _line(["---"] * (3 + len(pythons))),
        ]
        for (name, route, direction, what), found in outcomes.items():
            if name == client:
                lines.append(_line([f"`{route}`", direction, what, *(found.get(python, "-") for python in pythons)]))
    return "\n".join(lines) + "\n"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def display(path: Path) -> str:
    return str(path.relative_to(ROOT))
