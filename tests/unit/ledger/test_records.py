"""Records and who asked."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from ccproxy.ledger.records import Outcome, Record
from ccproxy.translate.stops import StopClass, stop_class

Make = Callable[..., Record]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("end_turn", StopClass.END),
        ("stop", StopClass.END),
        ("completed", StopClass.END),
        ("max_tokens", StopClass.LENGTH),
        ("length", StopClass.LENGTH),
        ("max_output_tokens", StopClass.LENGTH),
        ("tool_use", StopClass.TOOL_USE),
        ("tool_calls", StopClass.TOOL_USE),
        ("content_filter", StopClass.REFUSAL),
        ("pause_turn", StopClass.PAUSE),
        ("failed", StopClass.ERROR),
        ("something_new", StopClass.OTHER),
        (None, None),
    ],
)
def test_stop_reasons_of_all_formats_have_one_class(record: Make, reason: str | None, expected: Any) -> None:
    assert stop_class(reason) is expected
    assert record(stop_reason=reason).stop is expected


def test_an_exchange_that_failed_stopped_by_error(record: Make) -> None:
    assert record(stop_reason="end_turn", outcome=Outcome.ERROR).stop is StopClass.ERROR
    assert record(stop_reason="completed", stop=StopClass.TOOL_USE).stop is StopClass.TOOL_USE


def test_the_model_is_the_one_that_answered_else_the_one_asked_for(record: Make) -> None:
    assert record(model_asked="a", model_answered="b").model == "b"
    assert record(model_asked="a").model == "a"
    assert record().model is None


def test_what_a_refused_request_cost_is_not_unknown(record: Make) -> None:
    assert record().cost_unknown
    assert not record(price=Decimal(0)).cost_unknown
    assert not record(status=429).cost_unknown
    assert not record(status=None).cost_unknown
    assert not record(operation="count_tokens").cost_unknown
