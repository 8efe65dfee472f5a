"""`ccproxy permissions`: decide about the tools that Claude Code wants to run.

What a tool wants to do is shown as it is, but made visible: no character of it acts on the terminal.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    import httpx
    from rich.console import RenderableType

app = typer.Typer(help="Decide about the tools that Claude Code wants to run.", no_args_is_help=True)

_AGAIN_AFTER = 1.0  # seconds until a lost connection is tried again
_KEYS = "[b]a[/b] allow   [b]A[/b] always allow   [b]d[/b] deny   [b]D[/b] always deny   [b]n[/b] next   [b]q[/b] quit"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the running proxy answers, and what opens its permissions."""

    url: str
    token: str = field(repr=False)


def endpoint() -> Endpoint:
    """The proxy at the configured address, and the token that it wrote when it started."""
    from ccproxy.cli.console import load_settings
    from ccproxy.cli.running import Address
    from ccproxy.settings.runtime import cli_token

    settings = load_settings().settings
    address = Address.of(settings)
    token = cli_token(address.host, address.port) or settings.server.auth_token.get_secret_value()
    return Endpoint(address.origin, token)


# --- commands for scripts ---


@app.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, as GET /permissions answers.")] = False,
) -> None:
    """Show what waits for a decision.

    Example: ccproxy permissions list
    """
    listing = _call("GET", "/permissions")
    if as_json:
        typer.echo(json.dumps(listing, indent=2))
        return
    if not listing["pending"]:
        typer.echo(f"nothing waits; what no rule decides: {listing['mode']}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "tool", "wants", "session", "waits", box=None)
    for asked in listing["pending"]:
        cells = (asked["id"], asked["tool"], wants(asked), asked["session_id"] or "", f"{_waited(asked)} s")
        table.add_row(*(Text(visible(cell)) for cell in cells))
    Console(soft_wrap=True).print(table)


@app.command()
def allow(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As listed; its beginning is enough.")],
    always: Annotated[bool, typer.Option("--always", help="Make it a rule, in the configuration file too.")] = False,
    rule: Annotated[str, typer.Option(metavar="RULE", help="The rule, such as 'Bash(git *)'; implies --always.")] = "",
    changed: Annotated[str, typer.Option("--input", metavar="JSON", help="Run it with this input instead.")] = "",
) -> None:
    """Let a tool run.

    Example: ccproxy permissions allow 3f2a --rule 'Bash(git *)'
    """
    body: dict[str, Any] = {"decision": "allow"}
    if changed:
        try:
            body["updated_input"] = json.loads(changed)
        except ValueError as error:
            raise typer.BadParameter(f"--input is no JSON: {error}") from None
    _decide(identifier, body, rule or always)


@app.command()
def deny(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="As listed; its beginning is enough.")],
    always: Annotated[bool, typer.Option("--always", help="Make it a rule, in the configuration file too.")] = False,
    rule: Annotated[str, typer.Option(metavar="RULE", help="The rule, such as 'Bash(rm *)'; implies --always.")] = "",
    message: Annotated[str, typer.Option(metavar="TEXT", help="What the model is told.")] = "",
) -> None:
    """Keep a tool from running.

    Example: ccproxy permissions deny 3f2a --message 'Use the test database.'
    """
    body: dict[str, Any] = {"decision": "deny"}
    if message:
        body["message"] = message
    _decide(identifier, body, rule or always)


@app.command()
def watch() -> None:
    """Show what waits as it comes, and decide with a key: once, or always, which writes a rule.

    Example: ccproxy permissions watch
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        _fail("watch needs a terminal; scripts use: ccproxy permissions list --json", 2)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(endpoint(), Board()))


def _decide(identifier: str, body: dict[str, Any], remember: bool | str) -> None:
    if remember:
        body["remember"] = remember
    pending = _call("GET", "/permissions")["pending"]
    meant = [asked["id"] for asked in pending if asked["id"].startswith(identifier)]
    if len(meant) != 1:
        _fail(f"{'nothing' if not meant else 'more than one request'} waits under {identifier!r}")
    typer.echo(outcome(_call("POST", f"/permissions/{meant[0]}", body)))


def _call(method: str, path: str, body: Any = None) -> Any:
    import httpx

    where = endpoint()
    try:
        with _client(where) as client:
            answer = client.request(method, path, json=body)
    except httpx.HTTPError as error:
        _fail(f"no ccproxy answers at {where.url} ({error}): start it with `ccproxy serve`")
    if answer.is_error:
        _fail(_reason(answer))
    return answer.json()


def _client(where: Endpoint) -> httpx.Client:
    import httpx

    # Never through a proxy of the environment: this is the machine itself.
    return httpx.Client(base_url=where.url, headers={"x-ccproxy-token": where.token}, timeout=10, trust_env=False)


def _reason(answer: httpx.Response) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return visible(str(answer.json()["error"]["message"]))
    return f"ccproxy answered {answer.status_code}"


def _fail(message: str, code: int = 1) -> NoReturn:
    typer.echo(f"ccproxy: {message}", err=True)
    raise typer.Exit(code)


# --- what is shown ---


def visible(text: str) -> str:
    """The text with every character that is no glyph spelled out: a command may try to hide itself from its reader."""
    return "".join(sign if sign.isprintable() or sign == "\n" else f"\\u{ord(sign):04x}" for sign in text)


def wants(asked: dict[str, Any]) -> str:
    """What a request wants to do, on one line."""
    arguments = asked["input"]
    for name in ("command", "file_path", "path", "url", "query"):
        if isinstance(arguments.get(name), str):
            return str(arguments[name]).replace("\n", "⏎ ")
    return json.dumps(arguments, ensure_ascii=False)


def outcome(answer: dict[str, Any]) -> str:
    """What has become of a decision."""
    said = "allowed" if answer["decision"] == "allow" else "denied"
    if "rule" not in answer:
        return said
    if answer.get("saved"):
        return f"{said}, from now on: {visible(answer['rule'])}"
    return f"{said}, until ccproxy stops: {visible(answer['rule'])} (not saved: {answer.get('reason', 'no file')})"


def _waited(asked: dict[str, Any]) -> int:
    return max(0, round(time.time() - float(asked["asked_at"])))


class Board:
    """What `watch` shows: the requests that wait, one of them chosen. Fed with changes and keys."""

    def __init__(self) -> None:
        self.pending: dict[str, dict[str, Any]] = {}
        self.chosen: str | None = None
        self.note = "connecting …"

    def change(self, change: dict[str, Any]) -> None:
        """One event of `GET /permissions/stream`."""
        match change.get("type"):
            case "listing":
                self.pending = {asked["id"]: asked for asked in change["pending"]}
                self.note = f"what no rule decides: {change['mode']}"
            case "asked":
                self.pending[change["id"]] = change
            case "decided":
                self.pending.pop(change["id"], None)
                verdict = "allowed" if change["allowed"] else "denied"
                self.note = visible(f"{change['tool']} {verdict} by {change['by']}")
            case _:
                pass
        if self.chosen not in self.pending:
            self.chosen = next(iter(self.pending), None)

    def key(self, key: str) -> tuple[str, dict[str, Any]] | None:
        """A key as the decision that it makes: the request's id and the body to post."""
        if key == "n" and self.chosen is not None:
            names = list(self.pending)
            self.chosen = names[(names.index(self.chosen) + 1) % len(names)]
        if key.lower() not in ("a", "d") or self.chosen is None:
            return None
        body: dict[str, Any] = {"decision": "allow" if key.lower() == "a" else "deny"}
        if key.isupper():
            body["remember"] = self.pending[self.chosen]["rule"]
        return self.chosen, body

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        if self.chosen is None:
            return Group(Text("Nothing waits."), Text(self.note, style="dim"))
        asked = self.pending[self.chosen]
        facts = Table.grid(padding=(0, 2))
        left = max(0, round(asked["expires_at"] - time.time()))
        rows = {
            "wants": asked["description"],
            "session": asked["session_id"],
            "always": asked["rule"],
            "time": f"denied in {left} s",
        }
        for name, value in rows.items():
            if value:
                facts.add_row(Text(name, style="dim"), Text(visible(str(value))))
        arguments = "\n".join(f"{name}: {_lines(value)}" for name, value in asked["input"].items())
        title = Text(visible(f"{asked['tool']}  ({list(self.pending).index(self.chosen) + 1} of {len(self.pending)})"))
        return Group(
            Panel(Group(Text(visible(arguments)), Text(""), facts), title=title, title_align="left"),
            Text.from_markup(_KEYS),
            Text(self.note, style="dim"),
        )


def _lines(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if "\n" not in text else "\n" + text


# --- the live view ---


async def _watch(where: Endpoint, board: Board) -> None:
    import httpx
    from rich.live import Live

    headers = {"x-ccproxy-token": where.token}
    pressed: asyncio.Queue[str] = asyncio.Queue()
    async with httpx.AsyncClient(base_url=where.url, headers=headers, timeout=10, trust_env=False) as client:
        with _keys(pressed.put_nowait), Live(board, screen=True, refresh_per_second=4) as live:
            following = asyncio.create_task(_follow(client, board, live.refresh))
            try:
                while (key := await pressed.get()) not in ("q", "\x03", "\x04"):
                    decision = board.key(key)
                    if decision is not None:
                        board.note = await _post(client, *decision)
                    live.refresh()
            finally:
                following.cancel()
                await asyncio.wait({following})


async def _follow(client: httpx.AsyncClient, board: Board, refresh: Callable[[], None]) -> None:
    import httpx

    while True:
        try:
            async for change in _changes(client):
                board.change(change)
                refresh()
            board.note = "ccproxy ended the connection; trying again"
        except httpx.HTTPError as error:
            board.note = f"no ccproxy answers ({error}); trying again"
        except PermissionError as error:
            board.note = str(error)
        board.pending.clear()
        board.chosen = None
        refresh()
        await asyncio.sleep(_AGAIN_AFTER)


async def _changes(client: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    async with client.stream("GET", "/permissions/stream", timeout=None) as answer:
        if answer.is_error:
            await answer.aread()
            raise PermissionError(_reason(answer))
        async for line in answer.aiter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])


async def _post(client: httpx.AsyncClient, identifier: str, body: dict[str, Any]) -> str:
    import httpx

    try:
        answer = await client.post(f"/permissions/{identifier}", json=body)
    except httpx.HTTPError as error:
        return f"not decided: {error}"
    return _reason(answer) if answer.is_error else outcome(answer.json())


@contextlib.contextmanager
def _keys(press: Callable[[str], None]) -> Iterator[None]:
    """Call `press` on the running loop with each key, without waiting for Enter."""
    loop = asyncio.get_running_loop()

    def tell(key: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(press, key)

    if os.name == "nt":
        threading.Thread(target=_windows_keys, args=(tell,), daemon=True).start()
        yield
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    loop.add_reader(terminal, lambda: press(os.read(terminal, 1).decode("latin-1") or "q"))
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _windows_keys(tell: Callable[[str], None]) -> None:
    import msvcrt

    read: Callable[[], str] = getattr(msvcrt, "getwch")  # noqa: B009 - there on Windows only
    while True:
        tell(read())
