"""Names of tools, shortened for the upstream and restored for the client."""

from __future__ import annotations

from hypothesis import given, strategies as st

from ccproxy.translate.names import ClientTool, Names, fit, schema_name
from ccproxy.translate.neutral import Tool


def test_names_there_and_back() -> None:
    names = Names(20)
    tool = Tool("function", "find", "tools[0]", namespace="crm")
    assert names.declare(tool) == names.declare(tool) == names.upstream("find", "crm") == "crm__find"
    assert names.client("crm__find") == ClientTool("find", "crm")
    clash = names.declare(Tool("function", "crm__find", "tools[1]"))
    assert clash != "crm__find"
    assert names.client(clash) == ClientTool("crm__find")
    assert names.client("stranger", "ns") == ClientTool("stranger", "ns")
    long = names.upstream("é" * 50)
    assert len(long) <= 20
    assert names.client(long).name == "é" * 50


@given(st.text(max_size=200), st.integers(16, 128))
def test_every_name_fits(name: str, limit: int) -> None:
    fitted = fit(name, limit)
    assert 0 < len(fitted) <= limit
    assert all(char.isascii() and (char.isalnum() or char in "_-") for char in fitted)
    assert fit(fitted, limit) == fitted == fit(name, limit)


@given(st.text(max_size=200))
def test_the_name_of_an_output_format_fits(name: str) -> None:
    fitted = schema_name(name)
    assert 0 < len(fitted) <= 64
    assert fitted == "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:64] or not name
    assert schema_name("") == "response"
