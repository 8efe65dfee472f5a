"""What accounting costs the event loop per exchange: handing a record over, pricing it, counting it; and memory.

python benchmarks/ledger.py
"""

from __future__ import annotations

import gc
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ccproxy.ledger.database import Ledger
from ccproxy.ledger.metrics import Metrics
from ccproxy.ledger.pricing import PriceBook
from ccproxy.ledger.raw_log import Message, RawLog
from ccproxy.ledger.records import Outcome, Record
from ccproxy.redaction import Redaction
from ccproxy.translate.formats import Format
from ccproxy.translate.usage import Tokens, Usage

EXCHANGES = 10_000
USAGE = Usage(Tokens(1000, 150_000, 2000, 1000, 500, 400))


def record(number: int) -> Record:
    return Record(
        f"{number:08x}-0000-4000-8000-000000000000",
        datetime.now(UTC),
        "claude_api",
        "/api",
        Format.ANTHROPIC,
        Format.ANTHROPIC,
        "POST",
        "/api/v1/messages",
        200,
        Outcome.FINISHED,
        streamed=True,
        model_asked="claude-sonnet-4-5",
        model_answered="claude-sonnet-4-5-20250929",
        stop_reason="end_turn",
        usage=USAGE,
        ttfb_ms=310.0,
        total_ms=9000.0,
        added_ms=0.4,
        client="claude-code",
        session="6abdf252-7f0d-4ae3-b706-b08ddb132740",
    )


def each(action: Callable[[int], object], times: int) -> tuple[float, float]:
    """Median and 99th percentile of one call, in microseconds."""
    took = []
    for number in range(times):
        began = time.perf_counter()
        action(number)
        took.append((time.perf_counter() - began) * 1e6)
    return statistics.median(took), sorted(took)[int(times * 0.99)]


def resident() -> float:
    """Megabytes of memory in use (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def show(what: str, figures: tuple[float, float]) -> None:
    print(f"{what:44} median {figures[0]:7.2f} us   p99 {figures[1]:7.2f} us")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite3")
        ledger.start()
        ledger.put(record(0))
        ledger.flush()
        records = [record(number) for number in range(1, EXCHANGES + 1)]

        show("ledger.put, writer at work", each(lambda number: ledger.put(records[number]), EXCHANGES))
        began = time.perf_counter()
        ledger.flush(30)
        print(f"{'':44} the rest is on disk after {time.perf_counter() - began:.2f} s: {ledger.status()}")
        records.clear()

        book = PriceBook()
        began = time.perf_counter()
        book.load()
        print(f"{'prices: load (once, off the event loop)':44} {(time.perf_counter() - began) * 1e3:.0f} ms")
        now = datetime.now(UTC)
        models = ["claude-sonnet-4-5-20250929", "claude-sonnet-4-5"]
        show("prices: one answer", each(lambda _: book.price(USAGE, models, vendor="anthropic", at=now), EXCHANGES))

        metrics = Metrics()
        one = record(0)
        show("metrics.record", each(lambda _: metrics.record(one), EXCHANGES))
        metrics.render()
        show("metrics.render", each(lambda _: metrics.render(), 100))
        show("making a record", each(record, EXCHANGES))

        raw_log = RawLog(Path(folder) / "raw", Redaction())
        raw_log.start()
        exchange = raw_log.exchange("f", now)
        exchange.head(Message.UPSTREAM_RESPONSE, "HTTP/1.1 200 OK", [])
        chunk = b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" word"}}\n\n'
        show("raw log: one chunk", each(lambda _: exchange.body(Message.UPSTREAM_RESPONSE, chunk), EXCHANGES))
        raw_log.close()

        gc.collect()
        before = resident()
        for number in range(EXCHANGES, 4 * EXCHANGES):
            one = record(number)
            ledger.put(one)
            metrics.record(one)
            if number % 500 == 0:
                ledger.flush(30)
        ledger.close(30)
        gc.collect()
        print(f"{'memory after 30,000 exchanges more':44} {resident() - before:+.1f} MB")


if __name__ == "__main__":
    main()
