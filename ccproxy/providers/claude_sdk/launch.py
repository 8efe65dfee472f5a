"""How a Claude Code process is started: which program, which flags, which environment, which files.

Prompts, tools and keys are never on the command line, where every local user can read them: they go through files in a folder that only the user can open, and
through pipes. Every flag with a value that is not fixed is one word (`--model=X`): a value that begins with a dash would be the next flag.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ccproxy.errors import Unavailable
from ccproxy.network import extra_certificates
from ccproxy.providers.claude_sdk.callers import mark
from ccproxy.providers.claude_sdk.config import ClaudeSdkConfig, Mode
from ccproxy.providers.claude_sdk.request import Plan

CLIENT_TOOLS_SERVER = "ccproxy_client"
"""The name of the in-process MCP server that offers the client's own tools in agent mode."""

INSTALL_COMMAND = "pip install 'ccproxy-api[claude]'"

# What a program needs to run, and what the user's Claude login needs. An exported ANTHROPIC_BASE_URL that points at
# ccproxy would loop; a key or a setting exported for another Claude Code is not meant for this one.
_PLAIN_ENVIRONMENT = frozenset(
    {
        "HOME",
        "PATH",
        "USER",
        "LOGNAME",
        "SHELL",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
    }
    | {"SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "COMSPEC", "PATHEXT", "TEMP", "TMP"}
)
_LOGIN = frozenset({"CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN"})
_NETWORK = frozenset(
    {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"}
)

_ALWAYS = {
    "CLAUDE_CODE_ENTRYPOINT": "sdk-py",
    # Half an answer may be out when a stream breaks: never begin another one in its place.
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
    # No calls that no client made: titles for sessions, telemetry, updates.
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
    "DISABLE_AUTOUPDATER": "1",
}
_PLAIN = {
    # Nothing that the client did not ask for: no effort, no context management, no system messages between the turns.
    "CLAUDE_CODE_EFFORT_LEVEL": "auto",
    "CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS": "1",
    "CLAUDE_CODE_DISABLE_ATTACHMENTS": "1",  # no reminders about budgets or similar for the model
    "CLAUDE_CODE_MAX_RETRIES": "0",  # the client sees the error, with its retry-after, and decides
    "DISABLE_COMPACT": "1",  # the conversation is the client's: it is sent as it is, or refused
}
_AGENT = {
    "CLAUDE_CODE_MAX_RETRIES": "2",  # a client that repeats an agent's request repeats what its tools did
    "CLAUDE_AGENT_SDK_MCP_NO_PREFIX": "1",  # the client's tools keep their names
    "CLAUDE_CODE_MAX_MCP_DESCRIPTION_LENGTH": "1000000",
    "CLAUDE_CODE_MCP_AUTO_BACKGROUND_MS": "0",
}


@dataclass(frozen=True, slots=True)
class Program:
    """The Claude Code to run."""

    path: str
    bundled: bool


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything that starts one process. `folder` is its own and is removed with it."""

    argv: tuple[str, ...]
    env: dict[str, str]
    cwd: Path
    folder: Path
    has_children: bool

    @property
    def config_dir(self) -> Path:
        """Where Claude Code keeps its own files."""
        configured = self.env.get("CLAUDE_CONFIG_DIR")
        return Path(configured) if configured else Path(self.env.get("HOME", "~")).expanduser() / ".claude"


def find_program(cli_path: str, bundle: Path | None) -> Program:
    """The program of `cli_path` (a path, or a name on PATH), else the one inside the SDK's wheel, else `claude` on
    PATH.

    Raises:
        Unavailable: there is none.

    """
    name = "claude.exe" if os.name == "nt" else "claude"
    if cli_path:
        path = shutil.which(str(Path(cli_path).expanduser()) if os.sep in cli_path else cli_path)
        if path is None:
            raise Unavailable(
                f"Claude Code not found: providers.claude_sdk.cli_path = {cli_path!r} is not a program that can be run"
            )
        return Program(path, bundled=False)
    if bundle is not None and os.access(bundle / name, os.X_OK):
        return Program(str(bundle / name), bundled=True)
    path = shutil.which(name)
    if path is None:
        raise Unavailable(
            "Claude Code not found: the claude-agent-sdk of this platform does not include it. Install it "
            "(https://claude.com/claude-code) or set providers.claude_sdk.cli_path"
        )
    return Program(path, bundled=False)


def _reaper(mode: Mode) -> tuple[str, ...]:
    """A prefix of a command that ends it when this process dies, which Linux can do. Elsewhere the closed stdin ends it, after the answer that it is
    writing. An agent gets SIGTERM, so that it can end its tools.
    """
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return (setpriv, "--pdeathsig", "TERM" if mode == "agent" else "KILL", "--") if setpriv else ()


def build_launch(
    config: ClaudeSdkConfig,
    program: Program,
    plan: Plan | None,
    *,
    one_answer: bool,
    cwd: Path,
    folder: Path,
    parent_env: Mapping[str, str],
) -> Launch:
    """The launch for `plan`, of a process for `one_answer` or for a conversation. Without a plan, of a spare plain-mode process for one answer that gets its
    plan later. Writes files: call it in a thread.
    """
    folder.mkdir(mode=0o700)
    try:
        return _launch(config, program, plan, one_answer=one_answer, cwd=cwd, folder=folder, parent_env=parent_env)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _launch(
    config: ClaudeSdkConfig,
    program: Program,
    plan: Plan | None,
    *,
    one_answer: bool,
    cwd: Path,
    folder: Path,
    parent_env: Mapping[str, str],
) -> Launch:
    env = child_environment(config, parent_env)
    env["CLAUDE_CODE_TMPDIR"] = str(folder)
    env["PWD"] = str(cwd)
    argv = [
        *_reaper(config.mode),
        program.path,
        "--output-format",
        "stream-json",
        "--input-format",
        "stream-json",
        "--verbose",
    ]
    argv += ["--include-partial-messages"]
    if is_bare(config):
        argv += ["--bare"]
    if plan is None:
        argv += [*_plain_flags(one_answer=True), "--system-prompt", "", "--thinking=disabled"]
        return Launch(tuple(argv), env, cwd, folder, has_children=False)
    env |= plan.env
    argv += [f"--model={plan.model}", *plan.flags]
    argv += _plain_flags(one_answer=one_answer) if config.mode == "plain" else _agent_flags(config, plan, folder)
    if plan.system:
        flag = "--system-prompt-file" if config.mode == "plain" else "--append-system-prompt-file"
        argv += [f"{flag}={_private_file(folder / 'system.txt', plan.system)}"]
    elif config.mode == "plain":
        argv += ["--system-prompt", ""]
    settings = late_settings(plan)
    if config.mode == "agent" and config.closed:
        settings["permissions"] = {"deny": _closing(config.closed)}
    if settings:
        argv += [f"--settings={_private_file(folder / 'settings.json', json.dumps(settings))}"]
    return Launch(tuple(argv), env, cwd, folder, has_children=config.mode == "agent")


def late_settings(plan: Plan) -> dict[str, Any]:
    """The parts of the upstream body that no flag carries, as settings, which Claude Code also takes while it runs.

    https://code.claude.com/docs/en/settings: `CLAUDE_CODE_EXTRA_BODY` is merged over every upstream body,
    `ANTHROPIC_BETAS` is added to its betas.
    """
    env = {}
    if plan.extra_body:
        env["CLAUDE_CODE_EXTRA_BODY"] = json.dumps(plan.extra_body)
    if plan.betas:
        env["ANTHROPIC_BETAS"] = ",".join(plan.betas)
    return {"env": env} if env else {}


def is_bare(config: ClaudeSdkConfig) -> bool:
    """Return whether the plain model runs with `--bare`: Claude Code adds nothing to the request then, but ignores a subscription login."""
    return config.mode == "plain" and bool(
        config.api_key or config.env.keys() & {"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"}
    )


def child_environment(config: ClaudeSdkConfig, parent: Mapping[str, str]) -> dict[str, str]:
    """The child's environment, free of settings meant for other programs and of ccproxy's own secrets. What `env`
    configures wins.
    """
    env = {name: value for name, value in parent.items() if _passes(name, config)}
    extra = extra_certificates(parent)
    if extra and not extra.path.is_dir():  # Node takes one file
        env.setdefault("NODE_EXTRA_CA_CERTS", str(extra.path))
    env |= _ALWAYS | (_PLAIN if config.mode == "plain" else _AGENT)
    if config.api_key:
        env["ANTHROPIC_API_KEY"] = config.api_key
    if config.base_url:
        env["ANTHROPIC_BASE_URL"] = config.base_url
    return env | dict(config.env) | (mark() if config.mode == "agent" else {})


def _passes(name: str, config: ClaudeSdkConfig) -> bool:
    upper = name.upper()
    if upper in _LOGIN or upper in _NETWORK:
        return True
    if config.mode == "plain":
        return upper in _PLAIN_ENVIRONMENT or upper.startswith("LC_")
    # An agent's tools work in the user's own environment.
    section, separator, _ = upper.partition("__")
    return not (upper.startswith(("ANTHROPIC_", "CLAUDE")) or (separator and section.lower() in config.sections))


def _plain_flags(*, one_answer: bool) -> list[str]:
    """Nothing but a model: no tools, no settings, no MCP servers, no files written; whatever would ask is denied.

    Claude Code automatically continues after an answer that was cut, empty or all thinking. A budget that any answer
    exceeds always prevents that, but it would also prevent the next turn of a session.
    """
    flags = [
        "--tools",
        "",
        "--setting-sources=",
        "--strict-mcp-config",
        "--permission-mode",
        "dontAsk",
        "--no-session-persistence",
        "--max-turns",
        "1",
    ]
    return [*flags, "--max-budget-usd", "0.0000000001"] if one_answer else flags


def _agent_flags(config: ClaudeSdkConfig, plan: Plan, folder: Path) -> list[str]:
    flags = [f"--tools={','.join(config.tools) or 'default'}", "--no-session-persistence"]
    flags += [f"--permission-mode={config.permission_mode}", "--permission-prompt-tool=stdio"]
    if config.setting_sources:
        flags += [f"--setting-sources={','.join(config.setting_sources)}"]
    servers = dict(config.mcp_servers)
    if plan.client_tools:
        servers[CLIENT_TOOLS_SERVER] = {"type": "sdk", "name": CLIENT_TOOLS_SERVER}
        flags += [f"--allowedTools=mcp__{CLIENT_TOOLS_SERVER}"]
        # A tool of the client takes the place of Claude Code's own of that name and of one of the user's MCP servers.
        # All their names are of this form; other names would be read as rules or as several names.
        names = [tool["name"] for tool in plan.client_tools if re.fullmatch(r"[A-Za-z0-9_-]+", tool["name"])]
        flags += [f"--disallowedTools={','.join(names)}"] if names else []
    if servers:
        flags += [f"--mcp-config={_private_file(folder / 'mcp.json', json.dumps({'mcpServers': servers}))}"]
    return flags


def _closing(paths: Sequence[Path]) -> list[str]:
    """Rules of Claude Code's own, which it applies to its file tools, searches and the file commands in Bash that it
    knows. Two slashes make a path absolute; a folder stands for all below it.
    https://code.claude.com/docs/en/permissions#read-and-edit
    """
    return [f"{tool}(/{path.as_posix()})" for tool in ("Read", "Edit") for path in paths]


def _private_file(path: Path, text: str) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return str(path)
