"""Sources of settings, and modes of files."""

from __future__ import annotations

from pathlib import Path

from ccproxy.cli.checks import configuration
from ccproxy.cli.checks.configuration import File
from ccproxy.cli.checks.finding import Severity
from ccproxy.settings import Loaded, load

OK, WARN, BROKEN, SKIPPED = Severity.OK, Severity.WARN, Severity.BROKEN, Severity.SKIPPED


def loaded_of(**environ: str) -> Loaded:
    return load(environ=environ, folder=Path("/nonexistent"))


def test_configuration_names_what_is_set_and_where_but_no_value() -> None:
    found = configuration.sources(loaded_of(SERVER__PORT="9000", PROVIDERS__CLAUDE_API__API_KEY="very-secret"))
    assert "server.port (environment SERVER__PORT)" in found[0].what
    assert "providers.claude_api.api_key (environment PROVIDERS__CLAUDE_API__API_KEY)" in found[0].what
    assert "very-secret" not in str(found)
    assert "every setting has its default" in configuration.sources(loaded_of())[0].what


def test_an_untrusted_file_is_told_of(tmp_path: Path) -> None:
    (tmp_path / ".ccproxy.toml").write_text('[providers.claude_api]\nbase_url = "http://127.0.0.1:1"\n')
    found = configuration.sources(load(environ={}, folder=tmp_path))
    assert found[1].severity is WARN
    assert "ccproxy config trust" in found[1].fix


def test_modes() -> None:
    files = [
        File(Path("/x/key file"), 0o644), File(Path("/x"), 0o755, is_folder=True), File(Path("/t"), 0o644, is_secret=False),
        File(Path("/u"), 0o666, is_secret=False),
    ]  # fmt: skip
    assert [finding.fix for finding in configuration.modes(files)] == [
        "chmod 600 '/x/key file'",
        "chmod 700 /x",
        "chmod 600 /u",
    ]
    assert configuration.modes([File(Path("/x"), 0o600)])[0].severity is OK
