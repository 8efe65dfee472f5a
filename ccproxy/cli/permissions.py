"""`ccproxy permissions`: decide which tools Claude Code may run.

The arguments of a tool are untrusted. They are shown completely, but control characters are escaped so that none acts on the terminal.
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
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ccproxy.cli.console import fail, load_settings

if TYPE_CHECKING:
    import httpx
    from rich.console import RenderableType

app = typer.Typer(help="Decide which tools Claude Code may run.", no_args_is_help=True)

_RETRY_DELAY = 1.0
"""Seconds between two attempts to connect."""
_KEYS = "[b]a[/b] allow   [b]A[/b] always allow   [b]d[/b] deny   [b]D[/b] always deny   [b]n[/b] next   [b]q[/b] quit"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The URL of the running proxy and the token for its permissions."""

    url: str
    token: str = field(repr=False)


def endpoint() -> Endpoint:
    """Return the endpoint at the configured address, with the token that the proxy wrote to a file when it started."""
    from ccproxy.cli.running import Address
    from ccproxy.settings.runtime import cli_token

    settings = load_settings().settings
    address = Address.of(settings)
    token = cli_token(address.host, address.port) or settings.server.auth_token.get_secret_value()
    return Endpoint(address.origin, token)


# --- commands for scripts ---


@app.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON of GET /permissions.")] = False,
) -> None:
    """List the requests that wait for a decision.

    Example: ccproxy permissions list
    """
    listing = _call("GET", "/permissions")
    if as_json:
        typer.echo(json.dumps(listing, indent=2))
        return
    if not listing["pending"]:
        typer.echo(f"No requests are waiting. Requests without a rule: {listing['mode']}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("id", "tool", "action", "session", "waiting", box=None)
    for request in listing["pending"]:
        cells = (request["id"], request["tool"], action(request), request["session_id"] or "", f"{_waited(request)} s")
        table.add_row(*(Text(visible(cell)) for cell in cells))
    Console(soft_wrap=True).print(table)


@app.command()
def allow(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of the request, or its first characters.")],
    always: Annotated[bool, typer.Option("--always", help="Also save the decision as a rule.")] = False,
    rule: Annotated[
        str, typer.Option(metavar="RULE", help="Rule to save, such as 'Bash(git *)'; implies --always.")
    ] = "",
    changed: Annotated[str, typer.Option("--input", metavar="JSON", help="Run the tool with this input instead.")] = "",
) -> None:
    """Allow a tool to run.

    Example: ccproxy permissions allow 3f2a --rule 'Bash(git *)'
    """
    body: dict[str, Any] = {"decision": "allow"}
    if changed:
        try:
            body["updated_input"] = json.loads(changed)
        except ValueError as error:
            raise typer.BadParameter(f"--input is not valid JSON: {error}") from None
    _decide(identifier, body, rule or always)


@app.command()
def deny(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of the request, or its first characters.")],
    always: Annotated[bool, typer.Option("--always", help="Also save the decision as a rule.")] = False,
    rule: Annotated[
        str, typer.Option(metavar="RULE", help="Rule to save, such as 'Bash(rm *)'; implies --always.")
    ] = "",
    message: Annotated[str, typer.Option(metavar="TEXT", help="Message for the model.")] = "",
) -> None:
    """Prevent a tool from running.

    Example: ccproxy permissions deny 3f2a --message 'Use the test database.'
    """
    body: dict[str, Any] = {"decision": "deny"}
    if message:
        body["message"] = message
    _decide(identifier, body, rule or always)


@app.command()
def watch() -> None:
    """Show requests live and decide each with a key.

    A capital letter also saves the decision as a rule.

    Example: ccproxy permissions watch
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("This command needs a terminal. In scripts, use: ccproxy permissions list --json", 2)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_watch(endpoint(), Board()))


def _decide(identifier: str, body: dict[str, Any], remember: bool | str) -> None:
    if remember:
        body["remember"] = remember
    pending = _call("GET", "/permissions")["pending"]
    ids = [request["id"] for request in pending if request["id"].startswith(identifier)]
    if len(ids) != 1:
        fail(f"{'More than one' if ids else 'No'} waiting request has an id that begins with {identifier!r}")
    typer.echo(outcome(_call("POST", f"/permissions/{ids[0]}", body)))


def _call(method: str, path: str, body: Any = None) -> Any:
    import httpx

    server = endpoint()
    try:
        with _client(server) as client:
            response = client.request(method, path, json=body)
    except httpx.HTTPError as error:
        fail(f"No ccproxy responds at {server.url} ({error}). Start it with: ccproxy serve")
    if response.is_error:
        fail(_error_message(response))
    return response.json()


def _client(server: Endpoint) -> httpx.Client:
    import httpx

    # A request to this machine must not go through a proxy that the environment names.
    return httpx.Client(base_url=server.url, headers={"x-ccproxy-token": server.token}, timeout=10, trust_env=False)


def _error_message(response: httpx.Response) -> str:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return visible(str(response.json()["error"]["message"]))
    return f"ccproxy responded with status {response.status_code}"


# --- output ---


def visible(text: str) -> str:
    """Return the text with unprintable characters escaped, so that no command can hide itself from its reader."""
    return "".join(
        character if character.isprintable() or character == "\n" else f"\\u{ord(character):04x}" for character in text
    )


def action(request: dict[str, Any]) -> str:
    """Return the main argument of a requested tool on one line."""
    arguments = request["input"]
    for name in ("command", "file_path", "path", "url", "query"):
        if isinstance(arguments.get(name), str):
            return str(arguments[name]).replace("\n", "⏎ ")
    return json.dumps(arguments, ensure_ascii=False)


def outcome(decision: dict[str, Any]) -> str:
    """Return the result of a decision as text."""
    verdict = "Allowed" if decision["decision"] == "allow" else "Denied"
    if "rule" not in decision:
        return verdict
    if decision.get("saved"):
        return f"{verdict} from now on: {visible(decision['rule'])}"
    reason = decision.get("reason", "no file")
    return f"{verdict} until ccproxy stops: {visible(decision['rule'])} (not saved: {visible(reason)})"


def _waited(request: dict[str, Any]) -> int:
    """Return the age of a request in seconds."""
    return max(0, round(time.time() - float(request["asked_at"])))


class Board:
    """The screen of `watch`: the waiting requests, one of which is selected. Its input are changes and keys."""

    def __init__(self) -> None:
        self.pending: dict[str, dict[str, Any]] = {}
        self.selected: str | None = None
        self.note = "Connecting …"

    def change(self, change: dict[str, Any]) -> None:
        """Apply one event of `GET /permissions/stream`."""
        match change.get("type"):
            case "listing":
                self.pending = {request["id"]: request for request in change["pending"]}
                self.note = f"Requests without a rule: {change['mode']}"
            case "asked":
                self.pending[change["id"]] = change
            case "decided":
                self.pending.pop(change["id"], None)
                verdict = "allowed" if change["allowed"] else "denied"
                self.note = visible(f"{change['tool']} {verdict} by {change['by']}")
            case _:
                pass
        if self.selected not in self.pending:
            self.selected = next(iter(self.pending), None)

    def key(self, key: str) -> tuple[str, dict[str, Any]] | None:
        """Apply a key. If it is a decision, return the id of the request and the body to send."""
        if key == "n" and self.selected is not None:
            names = list(self.pending)
            self.selected = names[(names.index(self.selected) + 1) % len(names)]
        if key.lower() not in ("a", "d") or self.selected is None:
            return None
        body: dict[str, Any] = {"decision": "allow" if key.lower() == "a" else "deny"}
        if key.isupper():
            body["remember"] = self.pending[self.selected]["rule"]
        return self.selected, body

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.panel import Panel
        from rich.table import Table
        from rich.text import Text

        if self.selected is None:
            return Group(Text("No requests are waiting."), Text(self.note, style="dim"))
        request = self.pending[self.selected]
        facts = Table.grid(padding=(0, 2))
        left = max(0, round(request["expires_at"] - time.time()))
        rows = {
            "purpose": request["description"],
            "session": request["session_id"],
            "rule": request["rule"],
            "time": f"denied in {left} s",
        }
        for name, value in rows.items():
            if value:
                facts.add_row(Text(name, style="dim"), Text(visible(str(value))))
        arguments = "\n".join(f"{name}: {_lines(value)}" for name, value in request["input"].items())
        title = Text(
            visible(f"{request['tool']}  ({list(self.pending).index(self.selected) + 1} of {len(self.pending)})")
        )
        return Group(
            Panel(Group(Text(visible(arguments)), Text(""), facts), title=title, title_align="left"),
            Text.from_markup(_KEYS),
            Text(self.note, style="dim"),
        )


def _lines(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if "\n" not in text else "\n" + text


# --- the live view ---


async def _watch(server: Endpoint, board: Board) -> None:
    import httpx
    from rich.live import Live

    headers = {"x-ccproxy-token": server.token}
    pressed: asyncio.Queue[str] = asyncio.Queue()
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=10, trust_env=False) as client:
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
            board.note = "ccproxy ended the connection. Trying again"
        except httpx.HTTPError as error:
            board.note = f"ccproxy does not respond ({error}). Trying again"
        except PermissionError as error:
            board.note = str(error)
        board.pending.clear()
        board.selected = None
        refresh()
        await asyncio.sleep(_RETRY_DELAY)


async def _changes(client: httpx.AsyncClient) -> AsyncIterator[dict[str, Any]]:
    async with client.stream("GET", "/permissions/stream", timeout=None) as response:
        if response.is_error:
            await response.aread()
            raise PermissionError(_error_message(response))
        async for line in response.aiter_lines():
            if line.startswith("data:"):
                yield json.loads(line[5:])


async def _post(client: httpx.AsyncClient, identifier: str, body: dict[str, Any]) -> str:
    import httpx

    try:
        response = await client.post(f"/permissions/{identifier}", json=body)
    except httpx.HTTPError as error:
        return f"The decision was not sent: {error}"
    return _error_message(response) if response.is_error else outcome(response.json())


@contextlib.contextmanager
def _keys(press: Callable[[str], None]) -> Iterator[None]:
    """Call `press` in the running loop for each key, without Enter."""
    loop = asyncio.get_running_loop()

    def forward(key: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(press, key)

    if os.name == "nt":
        threading.Thread(target=_windows_keys, args=(forward,), daemon=True).start()
        yield
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    attributes = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    loop.add_reader(terminal, lambda: press(os.read(terminal, 1).decode("latin-1") or "q"))
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, attributes)


def _windows_keys(forward: Callable[[str], None]) -> None:
    import msvcrt

    read: Callable[[], str] = getattr(msvcrt, "getwch")  # noqa: B009 - exists on Windows only
    while True:
        forward(read())
