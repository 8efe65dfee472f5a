"""The unit test of `ccproxy/a/b.py` is `tests/unit/a/test_b.py`; where it is elsewhere, the list here says where.

The list of exceptions may only shrink: an entry whose source has got its own test, or is gone, fails. So does a unit test of no source that is not in `TOPICS`.
The idea is mitmproxy's, https://github.com/mitmproxy/mitmproxy/blob/main/test/filename_matching.py.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "gateway/test_routes.py": (
        "addons/chain.py", "addons/exchange.py", "addons/gateway/addon.py", "addons/gateway/endpoints.py", "addons/gateway/models.py",
        "addons/gateway/ways/endpoint.py", "addons/gateway/ways/lists.py", "addons/gateway/ways/shared.py", "addons/transport/responses.py",
        "addons/watchers/access_log.py", "providers/catalog/custom.py",
    ),
    "gateway/test_scripts.py": ("addons/transport/flow_edits.py", "addons/transport/hook_table.py", "addons/watchers/mitmproxy_sinks.py"),
    "gateway/test_stop.py": ("addons/transport/watched_stream.py", "server/masters.py", "server/proxy_server.py", "server/wiring.py"),
    "gateway/test_network.py": ("addons/transport/upstream_connections.py", "addons/transport/upstream_tls.py"),
    "golden/test_requests.py": ("addons/gateway/ways/native.py", "providers/catalog/claude_api.py", "providers/catalog/codex.py"),
    "golden/test_responses.py": ("addons/gateway/ways/upstream.py",),
    "golden/test_streams.py": ("translate/last_event.py",),
    "faults/test_upstream_down.py": ("addons/gateway/fail_closed.py",),
    "security/test_who_may_ask.py": ("addons/gateway/guard.py",),
    "security/test_secrets.py": ("redaction/rules.py", "addons/watchers/log_redaction.py"),
    "traffic/test_ledger.py": ("addons/watchers/accounting.py", "ledger/schema.py"),
    "traffic/test_mitmweb.py": (
        "addons/watchers/both_sides.py", "addons/watchers/contentview.py", "addons/watchers/legs.py", "addons/watchers/web.py",
    ),
    "traffic/test_raw_http.py": ("addons/watchers/traffic.py",),
    "property/test_reading.py": ("translate/reading.py",),
    "property/test_requests_in_any_shape.py": (
        "translate/checks.py", "translate/anthropic/parse.py", "translate/openai_chat/parse.py", "translate/openai_responses/parse.py",
        "translate/anthropic/blocks.py", "translate/openai_chat/messages.py",
    ),
    "faults/test_streams_that_break.py": ("translate/native_fold.py", "addons/in_process_body.py"),
    "e2e/test_tool_loops.py": ("addons/gateway/ways/translated.py",),
    "e2e/test_mitmproxy.py": ("script.py", "server/start_check.py"),
    "e2e/test_serve.py": ("cli/serve.py", "cli/running.py", "cli/console.py"),
    "e2e/test_auth_commands.py": ("cli/auth.py", "cli/auth_status.py", "cli/logins.py", "auth/status.py"),
    "e2e/test_logins.py": ("auth/token_responses.py",),
    "e2e/clients/test_run.py": ("cli/run.py", "cli/background.py", "cli/target.py"),
    "e2e/clients/test_doctor.py": ("cli/doctor.py", "cli/checks/finding.py", "cli/tables.py"),
    "e2e/clients/test_completion.py": ("cli/options.py",),
    "e2e/claude_sdk/test_over_http.py": ("addons/gateway/ways/in_process.py", "providers/catalog/claude_sdk.py", "providers/local.py"),
    "e2e/claude_sdk/test_plain.py": (
        "providers/claude_sdk/provider.py", "providers/claude_sdk/transport.py", "providers/claude_sdk/config.py", "providers/claude_sdk/connection.py",
    ),
    "e2e/claude_sdk/test_agent.py": ("providers/claude_sdk/tools.py",),
    "e2e/claude_sdk/test_errors.py": ("providers/claude_sdk/failures.py",),
    "e2e/claude_sdk/test_leaving.py": ("providers/claude_sdk/processes.py", "providers/claude_sdk/folders.py"),
    "docs/test_blocks.py": ("cli/demo.py",),
    "unit/addons/transport/test_stream.py": ("addons/transport/http1.py", "addons/transport/layer.py"),
    "unit/auth/test_oauth.py": ("auth/oauth_session.py",),
    "unit/cli/test_reference.py": (
        "cli/reference/commands.py", "cli/reference/errors.py", "cli/reference/markdown.py", "cli/reference/routes.py", "cli/reference/settings.py",
        "translate/reference.py",
    ),
    "unit/cli/test_permissions.py": ("cli/terminal.py",),
    "unit/cli/clients/test_connect.py": ("cli/clients/connection.py", "cli/clients/known.py", "cli/clients/spec.py"),
    "unit/permissions/test_commands.py": ("permissions/shell.py",),
    "unit/permissions/test_rules.py": ("permissions/globs.py",),
    "unit/providers/test_codex.py": ("translate/codex.py",),
    "unit/providers/test_mock.py": ("providers/catalog/mock.py",),
    "unit/settings/test_sources.py": ("settings/model.py",),
    "unit/settings/test_files.py": ("settings/editing.py",),
    "unit/translate/test_errors.py": (
        "errors.py", "translate/error_tables.py", "translate/ratelimits.py", "translate/anthropic/errors.py", "translate/openai_chat/errors.py",
        "translate/openai_responses/errors.py",
    ),
    "unit/translate/test_answers.py": ("translate/answer.py", "translate/stops.py", "translate/openai_responses/skeleton.py"),
    "unit/translate/test_conversations.py": ("translate/dialects.py", "translate/formats.py", "translate/neutral.py"),
    "unit/translate/test_spec_drift.py": ("translate/answer_policy.py", "translate/policy.py", "translate/policy_rows.py"),
    "unit/translate/openai_responses/test_encode.py": ("translate/openai_responses/output.py",),
    "unit/translate/anthropic/test_render.py": (
        "translate/anthropic/client_tools.py", "translate/openai_chat/conversation.py", "translate/openai_responses/conversation.py",
        "translate/openai_responses/items.py", "translate/openai_responses/tools.py",
    ),
    "unit/translate/openai_responses/test_render.py": ("translate/anthropic/conversation.py", "translate/as_text.py"),
    "unit/translate/openai_chat/test_decode.py": ("translate/openai_chat/reasoning.py",),
    "unit/ledger/test_database.py": ("ledger/rows.py",),
    "unit/ledger/test_metrics.py": ("translate/labels.py",),
}  # fmt: skip
"""Sources without a unit test of their name, below `ccproxy`, by the test below `tests` that covers them."""

TOPICS = {
    "cli/test_reference.py",
    "conformance/test_wire.py",
    "providers/claude_sdk/test_one_door.py",
    "providers/claude_sdk/test_without_sdk.py",
    "settings/test_base_url.py",
    "settings/test_unwritable_homes.py",
    "test_file_names.py",
    "translate/test_answers.py",
    "translate/test_conversations.py",
    "translate/test_nothing_vanishes.py",
    "translate/test_patterns.py",
    "translate/test_recordings.py",
    "translate/test_spec_drift.py",
}
"""Unit tests, below `tests/unit`, whose topic is not one module."""


def below(folder: str, pattern: str) -> set[str]:
    return {path.relative_to(ROOT / folder).as_posix() for path in (ROOT / folder).rglob(pattern)}


SOURCES = {path for path in below("ccproxy", "*.py") if not PurePosixPath(path).name.startswith("__")}
TESTS = below("tests/unit", "test_*.py")
EXCEPTIONS = [source for sources in ELSEWHERE.values() for source in sources]


def unit_test_of(source: str) -> str:
    return str(PurePosixPath(source).with_name(f"test_{PurePosixPath(source).name}"))


def test_every_source_has_its_unit_test() -> None:
    missing = {source for source in SOURCES if unit_test_of(source) not in TESTS} - set(EXCEPTIONS)
    assert not missing, f"add tests/unit/{unit_test_of(min(missing))}: the name under which a reader looks for it"


@pytest.mark.parametrize("source", EXCEPTIONS)
def test_the_exceptions_only_shrink(source: str) -> None:
    assert source in SOURCES, "the source is gone: remove it from ELSEWHERE"
    assert unit_test_of(source) not in TESTS, "it has its own test now: remove it from ELSEWHERE"


def test_no_source_is_excepted_twice() -> None:
    assert sorted(EXCEPTIONS) == sorted(set(EXCEPTIONS))


@pytest.mark.parametrize("test", ELSEWHERE)
def test_the_covering_tests_exist(test: str) -> None:
    assert (ROOT / "tests" / test).is_file()


def test_every_unit_test_has_its_source() -> None:
    strays = TESTS - {unit_test_of(source) for source in SOURCES} - TOPICS
    assert not strays, "name it after the module that it tests, or add its topic to TOPICS"
    assert TOPICS <= TESTS, "remove it from TOPICS: it is gone"
    assert not {unit_test_of(source) for source in SOURCES} & TOPICS, "remove it from TOPICS: it has a source now"
