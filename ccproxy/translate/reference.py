"""The reference page of the translator, written from its tables, so that what it does and what it says it does are the same."""

from __future__ import annotations

from collections.abc import Mapping

from ccproxy.translate import answer_policy, error_tables, policy
from ccproxy.translate.answer_policy import Told
from ccproxy.translate.formats import Format
from ccproxy.translate.policy import Action, Row, Target

_TITLES = {
    Format.ANTHROPIC: "Anthropic Messages",
    Format.OPENAI_CHAT: "OpenAI Chat Completions",
    Format.OPENAI_RESPONSES: "OpenAI Responses",
}
_TARGETS = {
    Target.ANTHROPIC: "Anthropic",
    Target.CHAT: "Chat",
    Target.RESPONSES: "Responses",
    Target.CODEX: "Codex",
}
_SIGNS = {
    Action.MAP: "yes",
    Action.NEAR: "nearly",
    Action.EMULATE: "by ccproxy",
    Action.DROP: "dropped",
    Action.REJECT: "400",
    Action.PROXY: "for ccproxy",
    Action.PASS: "unchanged",
}

_INTRODUCTION = """\
# Translation

What ccproxy does with everything that one format can say when the upstream speaks another. Where client and upstream speak the same format, bytes pass
untouched and nothing of this applies. This page is generated from the tables that the translator obeys.

| sign | meaning |
|---|---|
| yes | said exactly |
| nearly | said approximately, always in the same way |
| by ccproxy | the upstream has no such thing: ccproxy does it |
| dropped | left out, and listed by its JSON path in the header `x-ccproxy-loss`; with `translate.strict` a 400 |
| 400 | refused, naming the JSON path: leaving it out would change what comes back |
| for ccproxy | tells ccproxy, not the upstream |
| unchanged | sent as it is, for the upstream to decide |
"""

_CODEX = "Codex is the Responses backend of ChatGPT logins, which takes fewer parameters."


def render_markdown() -> str:
    """The whole page."""
    sections = [_INTRODUCTION]
    for fmt, title in _TITLES.items():
        sections.append(f"## A request in {title}\n")
        targets = [target for target in Target if _format_of(target) is not fmt or (target is Target.CODEX)]
        if Target.CODEX in targets:
            sections.append(_CODEX + "\n")
        sections.append(_rows("field", policy.FIELDS[fmt], targets))
        sections.append("### Content\n")
        others = [target for target in targets if _format_of(target) is not fmt]
        sections.append(_rows("type", policy.CONTENT[fmt], others))
        sections.append("### Tools\n")
        sections.append(_rows("type", policy.TOOLS[fmt], others))
    for fmt, title in _TITLES.items():
        sections.append(f"## An answer in {title}\n")
        others_told = [other for other in Format if other is not fmt]
        sections.append(_told("part", answer_policy.PARTS[fmt], others_told))
        sections.append("### How it ends\n")
        sections.append(_told("reason", answer_policy.STOPS[fmt], others_told))
    sections.append(_errors())
    return "\n".join(sections)


def _format_of(target: Target) -> Format:
    return Format.OPENAI_RESPONSES if target is Target.CODEX else Format(target.value)


def _rows(head: str, table: Mapping[str, Row], targets: list[Target]) -> str:
    lines = [
        f"| {head} | {' | '.join(_TARGETS[target] for target in targets)} | note |",
        "|---" * (len(targets) + 2) + "|",
    ]
    for name, row in table.items():
        signs = [_SIGNS[row.actions.get(target, Action.MAP)] for target in targets]
        lines.append(f"| `{name}` | {' | '.join(signs)} | {row.note} |")
    return "\n".join(lines) + "\n"


def _told(head: str, table: Mapping[str, Told], formats: list[Format]) -> str:
    columns = {Format.ANTHROPIC: "anthropic", Format.OPENAI_CHAT: "chat", Format.OPENAI_RESPONSES: "responses"}
    lines = [f"| {head} | {' | '.join(_TITLES[fmt] for fmt in formats)} |", "|---" * (len(formats) + 1) + "|"]
    lines += [
        f"| `{name}` | {' | '.join(getattr(told, columns[fmt]) for fmt in formats)} |" for name, told in table.items()
    ]
    return "\n".join(lines) + "\n"


def _errors() -> str:
    lines = ["## Errors\n", "| Anthropic | OpenAI's status | type | code |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {kind.openai_status} | `{kind.openai_type}` | {f'`{kind.openai_code}`' if kind.openai_code else '—'} |"
        for name, kind in error_tables.KINDS.items()
    ]
    return "\n".join(lines) + "\n"
