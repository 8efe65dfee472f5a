from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from pydantic import SecretStr

from ccproxy.auth.clients import CLAUDE, CODEX
from ccproxy.auth.sources import Fields, ProviderAuth, Source, choose
from ccproxy.errors import Unauthenticated
from tests.fakes.oauth import jwt

KEY = SecretStr("configured")
ANTHROPIC = b"sk-ant-dummy"
OPENAI = b"sk-proj-dummy"
OWN = SecretStr("the-token-for-ccproxy")


def claude(**fields: object) -> ProviderAuth:
    return ProviderAuth("claude_api", client=CLAUDE, **fields)  # type: ignore[arg-type]


def codex(**fields: object) -> ProviderAuth:
    return ProviderAuth("codex", client=CODEX, **fields)  # type: ignore[arg-type]


def bearer(key: bytes) -> Fields:
    return ((b"Authorization", b"Bearer " + key),)


def test_auto_takes_key_then_login_then_the_clients_own() -> None:
    sent = bearer(ANTHROPIC)
    assert choose(claude(api_key=KEY), has_login=True, sent=sent).source is Source.API_KEY
    assert choose(claude(), has_login=True, sent=sent).source is Source.LOGIN
    assert choose(claude(api_key=SecretStr("")), has_login=True, sent=sent).source is Source.LOGIN
    choice = choose(claude(), has_login=False, sent=sent)
    assert (choice.source, choice.fields) == (Source.CLIENT, sent)


@pytest.mark.parametrize(
    ("auth", "sent", "command"),
    [
        (claude(), (), "ccproxy auth login`"),
        (claude(), bearer(OPENAI), "ccproxy auth login`"),
        (claude(), ((b"x-api-key", OPENAI),), "ccproxy auth login`"),
        (claude(), bearer(jwt().encode()), "ccproxy auth login`"),
        (codex(), bearer(ANTHROPIC), "ccproxy auth login-openai`"),
        (codex(), bearer(OPENAI), "ccproxy auth login-openai`"),
        (claude(mode="oauth", api_key=KEY), bearer(ANTHROPIC), "ccproxy auth login`"),
        (claude(mode="api_key"), bearer(ANTHROPIC), "providers.claude_api.api_key"),
        (claude(mode="passthrough", api_key=KEY), (), "none came"),
        (ProviderAuth("mine"), bearer(ANTHROPIC), "providers.mine.api_key"),
        (ProviderAuth("mine", mode="oauth"), bearer(ANTHROPIC), "providers.mine.api_key"),
    ],
    ids=str,
)
def test_no_credential_names_what_gets_one(auth: ProviderAuth, sent: Fields, command: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        choose(auth, has_login=False, sent=sent)
    assert command in str(caught.value)
    assert "dummy" not in str(caught.value)


def test_a_mode_forces_its_source() -> None:
    sent = ((b"X-Api-Key", OPENAI), (b"accept", b"*/*"))
    assert choose(claude(mode="oauth", api_key=KEY), has_login=True).source is Source.LOGIN
    assert choose(claude(mode="api_key", api_key=KEY), has_login=True).source is Source.API_KEY
    choice = choose(claude(mode="passthrough", api_key=KEY), has_login=True, sent=sent)
    assert (choice.source, choice.fields) == (Source.CLIENT, sent[:1])


@pytest.mark.parametrize("key", [ANTHROPIC, b"sk-ant-oat01-dummy"])
@pytest.mark.parametrize("name", [b"x-api-key", b"Authorization"])
def test_the_clients_own_key_passes_as_it_came(key: bytes, name: bytes) -> None:
    field = (name, b"bearer " + key if name == b"Authorization" else key)
    assert choose(claude(), has_login=False, sent=(field,)).fields == (field,)


def test_a_jwt_passes_to_codex() -> None:
    assert choose(codex(), has_login=False, sent=bearer(jwt().encode())).source is Source.CLIENT


@pytest.mark.parametrize("mode", ["auto", "passthrough"])
@pytest.mark.parametrize("value", [b"sk-ant-own", b"Bearer sk-ant-own", b"bearer   sk-ant-own", b" sk-ant-own "])
@pytest.mark.parametrize("name", [b"x-api-key", b"authorization"])
def test_ccproxys_own_token_goes_nowhere(mode: str, name: bytes, value: bytes) -> None:
    auth = claude(mode=mode)
    with pytest.raises(Unauthenticated):
        choose(auth, has_login=False, sent=((name, value),), own_token=SecretStr("sk-ant-own"))
    both = ((name, value), (b"x-api-key", ANTHROPIC))
    assert choose(auth, has_login=False, sent=both, own_token=SecretStr("sk-ant-own")).fields == both[1:]


@given(
    st.sampled_from(["auto", "oauth", "api_key", "passthrough"]),
    st.booleans(),
    st.booleans(),
    st.lists(
        st.tuples(
            st.sampled_from([b"authorization", b"X-API-Key", b"cookie", b"x-ccproxy-token"]),
            st.sampled_from(
                [b"Bearer the-token-for-ccproxy", b"the-token-for-ccproxy", b"Bearer sk-ant-x", b"sk-ant-x", b"sk-x"]
            )
            | st.binary(max_size=20),
        ),
        max_size=4,
    ),
)
def test_only_fitting_fields_ever_pass(
    mode: str, has_key: bool, has_login: bool, sent: list[tuple[bytes, bytes]]
) -> None:
    auth = claude(mode=mode, api_key=KEY if has_key else None)
    try:
        choice = choose(auth, has_login=has_login, sent=tuple(sent), own_token=OWN)
    except Unauthenticated:
        return
    for name, value in choice.fields:
        assert name.lower() in {b"authorization", b"x-api-key"}
        assert b"the-token-for-ccproxy" not in value
        if mode == "auto":
            assert b"sk-ant-" in value
    assert bool(choice.fields) == (choice.source is Source.CLIENT)
