"""Persons and browsers for the sign-in flows."""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

from ccproxy.auth.login import Pace


@dataclass
class Person:
    """Notes what it is told; `browse` is what its browser does with an address, `types` what it pastes."""

    browse: Callable[[str], bool] = lambda _: False
    types: Callable[[str], str | None] = lambda _: None
    told: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.told.append(text)

    @property
    def url(self) -> str:
        return next(word for text in self.told for word in text.split() if "?" in word and word.startswith("http"))

    def ask(self, question: str) -> str:
        answer = self.types(self.url)
        if answer is None:
            raise EOFError
        return answer

    def pasted(self) -> str | None:
        return self.types(self.url)

    def open(self, url: str) -> bool:
        return self.browse(url)


@dataclass
class Browser:
    """Follows redirects like one; keeps the page that it ends at."""

    pages: list[tuple[int, str]] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)

    def __call__(self, url: str) -> bool:
        request = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with request.open(url, timeout=10) as answer:
                self.pages.append((answer.status, answer.read().decode()))
        except urllib.error.HTTPError as error:
            with error:
                self.pages.append((error.code, error.read().decode()))
        self.arrived.set()
        return True


def get(url: str) -> tuple[int, http.client.HTTPMessage, str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        return answer.status, answer.msg, answer.read().decode()
    finally:
        connection.close()


class Watch:
    """A monotonic clock and a sleep that moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.slept: list[float] = []

    def pace(self) -> Pace:
        return Pace(
            now=lambda: datetime(2026, 11, 22, 12, tzinfo=UTC), monotonic=lambda: self.seconds, sleep=self.sleep
        )

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds
