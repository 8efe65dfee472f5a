"""Patches of mitmproxy, most of them in a process of its own: what is imported stays imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from hypothesis import given, strategies as st
from mitmproxy import http

from ccproxy.addons.transport.http1_heads import QuickHeaders
from ccproxy.mitmproxy_patches import PATCHES, Patch
from tests.fakes.client import message
from tests.fakes.proxy import Program, serving

ROOT = Path(__file__).parents[2]


def run(code: str, patches: str = "") -> str:
    command = [sys.executable, "-c", f"import sys\nfrom ccproxy import mitmproxy_patches\n{code}"]
    environment = {**os.environ, "CCPROXY_PATCHES": patches}
    process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    return process.stdout.strip()


HEAVY = (
    "mitmproxy_patches.load_addons_on_demand()\nimport ccproxy.server.proxy_server\n"
    "print([name for name in ('flask', 'ldap3') if name in sys.modules])"
)


def test_only_the_addons_that_are_used_are_imported() -> None:
    assert run(HEAVY) == "[]"
    assert run(HEAVY, patches="off") == "['flask', 'ldap3']"


def test_all_addons_are_there_where_they_are_asked_for() -> None:
    code = "mitmproxy_patches.load_addons_on_demand()\nfrom mitmproxy import addons\nprint(len(addons.default_addons()) > 25, 'flask' in sys.modules)"
    assert run(code) == "True True"


def test_what_is_loaded_already_stays() -> None:
    code = "from mitmproxy import addons\nmitmproxy_patches.load_addons_on_demand()\nprint(sys.modules['mitmproxy.addons'] is addons)"
    assert run(code) == "True"


def test_messages_are_made_without_a_look_at_their_types() -> None:
    skip = "from mitmproxy import http\nmitmproxy_patches.skip_type_checks()\n"
    wrong = "http.Request('h', 'no port', b'GET', b'', b'', b'/', b'', (), None, None, 0, None)"
    assert run(f"{skip}print(http.Response.make(200, b'', {{}}).status_code)") == "200"
    assert run(f"{skip}print({wrong}.port)") == "no port"
    with pytest.raises(subprocess.CalledProcessError):
        run(f"{skip}{wrong}", patches="off")


NAMES = st.sampled_from([b"a", b"A", b"b", b"Set-Cookie", b"x-\xff"])


@given(fields=st.lists(st.tuples(NAMES, st.binary(max_size=4))).map(tuple), name=NAMES)
def test_headers_are_looked_up_alike_with_and_without(fields: tuple[tuple[bytes, bytes], ...], name: bytes) -> None:
    text = name.decode("utf-8", "surrogateescape")
    quick, stock = QuickHeaders.of(fields), http.Headers(fields)
    assert quick.get_all(text) == stock.get_all(text)
    assert quick.get(text, "none") == stock.get(text, "none")
    assert (text in quick) == (text in stock)


def client_of(program: Program) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{program.port}", trust_env=False)


async def test_a_proxy_works_without_any_patch(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, env={"CCPROXY_PATCHES": "off"}) as program,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{program.port}", trust_env=False) as client,
    ):
        for path, body in (
            ("/mock/v1/messages", message(stream=True)),
            ("/mock/v1/chat/completions", b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'),
            ("/mock/v1/responses", b'{"model":"m","input":"hello","stream":true}'),
        ):
            response = await client.post(path, content=body)
            assert response.status_code == 200, response.text


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.name)
def test_each_patch_names_its_test(patch: Patch) -> None:
    file, _, name = patch.test.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")
