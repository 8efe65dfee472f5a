from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from ccproxy.ledger.records import Outcome, Record
from ccproxy.translate.formats import Format


@pytest.fixture
def record() -> Callable[..., Record]:
    """Makes records: each with a flow id of its own, all else as given or plain."""
    numbers = itertools.count()

    def make(**fields: Any) -> Record:
        given: dict[str, Any] = {
            "flow": f"flow-{next(numbers)}",
            "started": datetime(2026, 11, 22, 12, tzinfo=UTC),
            "provider": "mock",
            "route": "/mock",
            "client_format": Format.ANTHROPIC,
            "upstream_format": Format.ANTHROPIC,
            "method": "POST",
            "path": "/mock/v1/messages",
            "status": 200,
            "outcome": Outcome.FINISHED,
        }
        return Record(**given | fields)

    return make
