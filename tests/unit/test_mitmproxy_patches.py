"""mitmproxy with less of it, each in a process of its own: what is imported stays imported."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    command = [sys.executable, "-c", f"import sys\nfrom ccproxy import mitmproxy_patches\n{code}"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()


def test_only_the_addons_that_are_used_are_imported() -> None:
    code = "mitmproxy_patches.without_unused_addons()\nimport ccproxy.server.proxy_server\nprint([name for name in ('flask', 'ldap3') if name in sys.modules])"
    assert run(code) == "[]"


def test_all_addons_are_there_where_they_are_asked_for() -> None:
    code = "mitmproxy_patches.without_unused_addons()\nfrom mitmproxy import addons\nprint(len(addons.default_addons()) > 25, 'flask' in sys.modules)"
    assert run(code) == "True True"


def test_what_is_loaded_already_stays() -> None:
    code = "from mitmproxy import addons\nmitmproxy_patches.without_unused_addons()\nprint(sys.modules['mitmproxy.addons'] is addons)"
    assert run(code) == "True"


def test_messages_are_made_without_a_look_at_their_types() -> None:
    code = "from mitmproxy import http\nmitmproxy_patches.without_type_checks()\nprint(http.Response.make(200, b'', {}).status_code)"
    assert run(code) == "200"
    wrong = "http.Request('h', 'no port', b'GET', b'', b'', b'/', b'', (), None, None, 0, None)"
    assert run(f"from mitmproxy import http\nmitmproxy_patches.without_type_checks()\nprint({wrong}.port)") == "no port"


def test_the_collector_rests_until_all_is_loaded_and_passes_it_over_then() -> None:
    count = "gc.get_freeze_count()"  # Python itself may begin with some
    code = f"import gc\nmitmproxy_patches.without_collecting()\nresting = not gc.isenabled()\nbefore = {count}\nmitmproxy_patches.settled()\n"
    assert run(f"{code}print(resting, gc.isenabled(), {count} > before)") == "True True True"
    assert run(f"import gc\nbefore = {count}\nmitmproxy_patches.settled()\nprint({count} == before)") == "True"
