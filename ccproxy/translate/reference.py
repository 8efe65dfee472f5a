"""The reference page of the translator, rendered from the tables that it uses."""

from __future__ import annotations

from collections.abc import Mapping

from ccproxy.translate import answer_policy, codex, error_tables, policy
from ccproxy.translate.answer_policy import Counterparts
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

What ccproxy does with every field, type of content and tool of one format when the upstream uses another. Where client and upstream use the same format,
bytes pass through unchanged and the tables do not apply; the one exception is [Codex](#what-the-codex-backend-accepts). This page is generated from the
tables that the translator uses, and a test sends every row of it through a running proxy.

| sign | meaning |
|---|---|
| yes | sent with the same meaning |
| nearly | sent as the closest equivalent, always the same one |
| by ccproxy | the upstream has no equivalent: ccproxy does it |
| dropped | not sent, but listed in the `x-ccproxy-loss` header; with `translate.strict` a 400, unless nothing is translated |
| 400 | refused with the JSON path in the error: without it the answer would be a different one |
| for ccproxy | read by ccproxy, not sent |
| unchanged | sent as it is: the upstream accepts or refuses it |
"""

_CODEX_COLUMN = "Codex is the Responses backend of ChatGPT logins, which [accepts fewer parameters](#what-the-codex-backend-accepts)."

_CODEX = """\
## What the Codex backend accepts

The backend of ChatGPT logins uses Responses, but refuses some parameters. A request in Responses to `/api/codex` is changed as little as that requires; a
request in another format is translated to the parameters that are kept, adjusted or set. A parameter that the backend refuses by name today although it is kept
here is left out, if the request can do without it, and the request is sent again.

The backend stores nothing. Where a client did not say `"store": false` itself, ccproxy removes references to stored items from the input (`item_reference`, and
`reasoning` without `encrypted_content`), lists them in `x-ccproxy-loss`, and asks for encrypted reasoning, which the client can send back.
"""


def render_markdown() -> str:
    """Return the whole page."""
    sections = [_INTRODUCTION]
    for fmt, title in _TITLES.items():
        sections.append(f"## A request in {title}\n")
        targets = [target for target in Target if _format_of(target) is not fmt or (target is Target.CODEX)]
        if Target.CODEX in targets:
            sections.append(_CODEX_COLUMN + "\n")
        sections.append(_rows("field", policy.FIELDS[fmt], targets))
        sections.append("### Content\n")
        others = [target for target in targets if _format_of(target) is not fmt]
        sections.append(_rows("type", policy.CONTENT[fmt], others))
        sections.append("### Tools\n")
        sections.append(_rows("type", policy.TOOLS[fmt], others))
    for fmt, title in _TITLES.items():
        sections.append(f"## An answer in {title}\n")
        clients = [other for other in Format if other is not fmt]
        sections.append(_answers("part", answer_policy.PARTS[fmt], clients))
        sections.append("### Stop reasons\n")
        sections.append(_answers("reason", answer_policy.STOPS[fmt], clients))
    sections += [_CODEX, _codex(), _errors()]
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


def _answers(head: str, table: Mapping[str, Counterparts], formats: list[Format]) -> str:
    columns = {Format.ANTHROPIC: "anthropic", Format.OPENAI_CHAT: "chat", Format.OPENAI_RESPONSES: "responses"}
    lines = [f"| {head} | {' | '.join(_TITLES[fmt] for fmt in formats)} |", "|---" * (len(formats) + 1) + "|"]
    lines += [
        f"| `{name}` | {' | '.join(getattr(row, columns[fmt]) for fmt in formats)} |" for name, row in table.items()
    ]
    return "\n".join(lines) + "\n"


def _codex() -> str:
    lines = ["| parameter | in a Responses request | why |", "|---|---|---|"]
    lines += [f"| `{name}` | {row.native.value} | {row.why} |" for name, row in codex.PARAMETERS.items()]
    return "\n".join(lines) + "\n"


def _errors() -> str:
    lines = ["## Errors\n", "| Anthropic | OpenAI's status | type | code |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {kind.openai_status} | `{kind.openai_type}` | {f'`{kind.openai_code}`' if kind.openai_code else '—'} |"
        for name, kind in error_tables.KINDS.items()
    ]
    return "\n".join(lines) + "\n"
