from __future__ import annotations

import pytest

from ccproxy.settings.keys import all_keys, at, has, nearest, table_at, unknown_part
from ccproxy.settings.model import CustomProviderSettings, OAuthSettings, ProvidersSettings, ServerSettings, Settings


def test_every_setting_is_listed_once() -> None:
    paths = [key.path for key in all_keys()]
    assert len(paths) == len(set(paths))
    for path in (
        ("server", "port"),
        ("providers", "codex", "oauth", "token_url"),
        ("providers", "*", "oauth", "scopes"),
        ("auth", "dir"),
    ):
        assert path in paths


@pytest.mark.parametrize(
    ("path", "table"),
    [
        ((), Settings),
        (("server",), ServerSettings),
        (("providers",), ProvidersSettings),
        (("providers", "zai"), CustomProviderSettings),
        (("providers", "zai", "oauth"), OAuthSettings),
        (("nothing",), None),
        (("server", "port"), None),
        (("providers", "claude_sdk", "env"), None),
    ],
)
def test_tables(path: tuple[str, ...], table: type | None) -> None:
    assert table_at(path) is table


@pytest.mark.parametrize(
    ("path", "part"),
    [
        (("server", "port"), None),
        (("server", "prot"), (("server",), "prot")),
        (("providers", "zai", "base_url"), None),
        (("providers", "zai", "x"), (("providers", "zai"), "x")),
        (("providers", "claude_sdk", "env", "ANY"), None),
        (("server", "port", "x"), None),
        (("x",), ((), "x")),
    ],
)
def test_where_a_path_leaves_the_model(path: tuple[str, ...], part: object) -> None:
    assert unknown_part(path) == part


def test_the_nearest_key() -> None:
    assert nearest(("server",), "prot") == "port"
    assert nearest(("server",), "x" * 10_000) is None
    assert nearest(("nothing",), "port") is None


def test_values_at_a_path() -> None:
    values = {"a": {"b": [1]}}
    assert has(values, ("a", "b"))
    assert not has(values, ("a", "b", "c"))
    assert not has(values, ("b",))
    assert at(values, ("a", "b")) == [1]
