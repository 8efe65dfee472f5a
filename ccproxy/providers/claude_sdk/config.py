"""The settings of `[providers.claude_sdk]` as a plain value, so that this package needs no settings library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

SECTIONS: Final = frozenset({"server", "providers", "translate", "pricing", "ledger", "raw_log", "permissions", "auth"})
"""As `ccproxy.settings` defines them, for callers without it."""
Mode = Literal["plain", "agent"]


@dataclass(frozen=True, slots=True)
class ClaudeSdkConfig:
    """The keys of `[providers.claude_sdk]`.

    Empty `setting_sources` and `tools` stand for the mode's own default: nothing in plain mode, everything of the
    user's in agent mode. `session_ttl` is in seconds.
    """

    mode: Mode = "plain"
    cli_path: str = ""
    cwd: str = ""
    setting_sources: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    mcp_servers: Mapping[str, Any] = field(default_factory=dict, repr=False)
    permission_mode: str = "default"
    show_tools: Literal["hide", "text", "blocks"] = "text"
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_key: str = field(default="", repr=False)
    base_url: str = ""
    max_processes: int = 8
    queue: int = 16
    prewarm: int = 0
    session_ttl: float = 900.0
    session_busy: Literal["wait", "reject"] = "wait"
    sections: frozenset[str] = SECTIONS
    """Sections of ccproxy's configuration: variables such as SERVER__AUTH_TOKEN are not for an agent's tools."""
    closed: tuple[Path, ...] = ()
    """Files and folders that an agent's tools may neither read nor change: ccproxy's own."""
