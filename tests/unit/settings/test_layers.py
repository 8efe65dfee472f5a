"""Sources of settings: bounded whatever they hold, and deaf to what is meant for other programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ccproxy.errors import ConfigError
from ccproxy.settings import Settings, load
from ccproxy.settings.files import MAX_BYTES
from ccproxy.settings.layers import MAX_DEPTH, from_toml, from_variables, listed, printable

DEEP = 100_000


# ---- files without bounds


@pytest.mark.parametrize("name", [".env", ".ccproxy.toml", "ccproxy.toml", "named"])
def test_a_file_of_a_hundred_megabytes(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(ConfigError, match=f"{path}: cannot be read: is larger than {MAX_BYTES // 1024} KB"):
        load(config=path if name == "named" else None, environ={}, folder=tmp_path)


HOSTILE = {
    "nested lists": "a = " + "[" * DEEP + "]" * DEEP,
    "nested tables": "a = " + "{a=" * DEEP + "1" + "}" * DEEP,
    "lists as deep as the parser takes": "translate = " + "[" * 100 + "]" * 100,
    "tables as deep as the parser takes": "translate = " + "{a=" * 100 + "1" + "}" * 100,
    "a long key": "a" + ".a" * DEEP + " = 1",
    "a long header": "[a" + ".a" * DEEP + "]",
    "a long list header": "[[a" + " . a" * DEEP + "]]",
    "a long key of quoted parts": '"a"' + ".'a'" * DEEP + " = 1",
    "a long key in a table": "x = {y" + ".a" * DEEP + " = 1}",
    "many long keys": "".join("a" + ".a" * 100 + f"{number} = 1\n" for number in range(1000)),
    "a long integer": "[server]\nport = " + "9" * DEEP,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_takes_too_long_to_parse(tmp_path: Path, kind: str) -> None:
    """tomllib took 48 s and gigabytes for a key of 40,000 parts."""
    (tmp_path / ".ccproxy.toml").write_text(HOSTILE[kind])
    with pytest.raises(ConfigError, match=r"\.ccproxy\.toml"):
        load(environ={}, folder=tmp_path)


def test_a_file_as_deep_as_settings_are(tmp_path: Path) -> None:
    text = "[providers.claude_sdk.mcp_servers.one.env]\nA.B.C = 'a.b.c.d'\n[server]\nallowed_hosts = ["
    text += ", ".join(f"'{number}.a.b.c.test'" for number in range(200)) + "]\n"
    layer = from_toml(tmp_path / "x.toml", text.encode())
    assert len(layer.values["server"]["allowed_hosts"]) == 200


@pytest.mark.parametrize("separator", ["__", "__A__"])
def test_a_variable_with_a_name_without_end(tmp_path: Path, separator: str) -> None:
    name = "TRANSLATE" + "__A" * 1000
    with pytest.raises(ConfigError, match=f"has more than {MAX_DEPTH} parts"):
        load(environ={name: "1"}, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("SERVER__ALLOWED_HOSTS", "["),
        ("PROVIDERS__CLAUDE_SDK__ENV", '{"a":'),
        ("PROVIDERS__CLAUDE_SDK__MCP_SERVERS", '{"a":'),
        ("PERMISSIONS__RULES", '[{"a":'),
    ],
)
def test_a_variable_nested_without_end(tmp_path: Path, name: str, start: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load(environ={name: start * DEEP}, folder=tmp_path)


def test_what_is_not_a_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env")
    os.mkfifo(tmp_path / "ccproxy.toml")
    (tmp_path / ".ccproxy.toml").mkdir()
    assert load(environ={}, folder=tmp_path).settings == Settings()


def test_a_pipe_that_is_named_on_the_command_line(tmp_path: Path) -> None:
    """`--config <(decrypt secrets.toml)`."""
    read, write = os.pipe()
    os.write(write, b"[server]\nport = 1\n")
    os.close(write)
    assert load(config=Path(f"/dev/fd/{read}"), environ={}, folder=tmp_path).settings.server.port == 1
    os.close(read)


def test_no_name_of_a_strange_file_acts_on_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / ".ccproxy.toml"
    path.write_text('[translate]\n"\\u001b]0;x\\u0007" = 1\n"\\u202e" = 1\nstrict = "\\u001b"\n')
    with pytest.raises(ConfigError) as caught:
        load(environ={}, folder=tmp_path)
    path.write_text('[ledger]\n"\\u001b]0;x\\u0007" = 1\n' + "".join(f"k{number} = 1\n" for number in range(1000)))
    (warning,) = load(environ={}, folder=tmp_path).warnings
    for text in (str(caught.value), warning):
        assert text.replace("\n", "").isprintable()
    assert len(warning) < 1000
    assert "and 981 more" in warning


def test_names_in_messages() -> None:
    assert listed(["a", "b"]) == "a, b"
    assert printable("x" * 1000) == "x" * 200 + "…"
    assert printable("a\u200bb\x1b") == r"a\u200bb\x1b"


# ---- variables of others


@pytest.mark.parametrize("value", ["", " ", "\t"])
@pytest.mark.parametrize(
    "name", ["SERVER__PORT", "SERVER__AUTH_TOKEN", "SERVER__ALLOWED_HOSTS", "PROVIDERS__CODEX__MODELS", "LEDGER__URL"]
)
def test_an_empty_variable_is_unset(tmp_path: Path, name: str, value: str) -> None:
    """Container set-ups make one of every variable that is not set."""
    config = tmp_path / "named.toml"
    config.write_text("[server]\nauth_token = 'mine'\nallowed_hosts = ['a.test']\n")
    loaded = load(environ={name: value}, config=config, folder=tmp_path)
    assert loaded.settings == load(environ={}, config=config, folder=tmp_path).settings
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    "name", ["AUTH__X", "AUTH__SECRET", "SERVER__Y", "SERVER__JDBC__URL", "LEDGER__PATH", "PROVIDERS__GITHUB__CALLBACK"]
)
@pytest.mark.parametrize("source", ["environment", ".env"])
def test_a_variable_of_another_program_does_not_stop_the_start(tmp_path: Path, name: str, source: str) -> None:
    if source == ".env":
        (tmp_path / ".env").write_text(f"{name}=value-of-another\n")
    loaded = load(environ={} if source == ".env" else {name: "value-of-another"}, folder=tmp_path)
    assert loaded.settings == Settings()
    assert name in loaded.warnings[0]
    assert "value-of-another" not in loaded.warnings[0]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SERVER__PROT", "1", "did you mean port"),
        ("SERVER__AUTHTOKEN", "1", "did you mean auth_token"),
        ("PROVIDERS__CODEX__API_KEYS", "1", "did you mean api_key"),
        ("PROVIDERS__ZAI__BASE_ULR", "1", "did you mean base_url"),
        ("PROVIDERS__ZAI__API_KEY", "1", "base_url is missing"),
        ("SERVER__PORT", "eight", "valid integer"),
        ("AUTH__STORE", "keychain", "file"),
    ],
)
def test_a_mistake_in_ones_own_variable_does(tmp_path: Path, name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(environ={name: value}, folder=tmp_path)


@pytest.mark.parametrize("level", ["INFO", "Warning", " debug "])
def test_a_log_level_in_any_case(tmp_path: Path, level: str) -> None:
    loaded = load(environ={"SERVER__LOG_LEVEL": level}, folder=tmp_path)
    assert loaded.settings.server.log_level == level.strip().lower()


def test_the_environment_of_claude_code_keeps_its_case() -> None:
    variables = {"PROVIDERS__CLAUDE_SDK__ENV__HTTP_Proxy": "x", "providers__claude_sdk__env__y": "z"}
    layer = from_variables("environment", variables, [])
    assert layer.values == {"providers": {"claude_sdk": {"env": {"HTTP_Proxy": "x", "y": "z"}}}}


def test_lines_of_a_dotenv_that_are_not_assignments(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".env").write_text("\ufeffSERVER__PORT=9000\n= = =\n{{ template }}\nexport A=b\n'\n" * 100)
    loaded = load(environ={}, folder=tmp_path)
    assert loaded.settings.server.port == 9000
    assert loaded.warnings == ()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("providers", ["providers = 1\n", "[providers]\nzai = 1\n", "[[providers]]\nx = 1\n"])
def test_providers_that_are_not_tables(tmp_path: Path, providers: str) -> None:
    path = tmp_path / "named.toml"
    path.write_text(providers)
    with pytest.raises(ConfigError, match="providers"):
        load(config=path, environ={}, folder=tmp_path)
