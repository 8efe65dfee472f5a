"""The one door of the translator: everything a gateway needs to serve a client of one format from an upstream of another.

    exchange = translate_request(Format.OPENAI_CHAT, Format.ANTHROPIC, body, AnthropicProfile.of_model(body["model"]))
    send(exchange.encode(), exchange.headers)
    SSE to a client that streams:     t = exchange.stream_translator(); out = t.feed(chunk); …; out = t.close()
    SSE to a client that does not:    f = exchange.folder(); f.feed(chunk); …; status, headers, out = f.result()
    JSON:                             status, headers, out = exchange.whole(status, body)
    JSON to a client that streams:    out = exchange.whole_as_stream(body)
    an error answer:                  status, headers, out = exchange.error(status, headers, body)

Where client and upstream speak the same format, nothing is translated: see `native`. A gateway that holds the bytes forwards them as they came unless
`exchange.changed` says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ccproxy.translate import errors, jsontext, native, policy
from ccproxy.translate.answer import AnswerContext
from ccproxy.translate.anthropic.render import render as render_anthropic
from ccproxy.translate.checks import too_deep
from ccproxy.translate.dialects import DIALECTS
from ccproxy.translate.formats import Format
from ccproxy.translate.losses import Loss, Losses
from ccproxy.translate.names import Names
from ccproxy.translate.native_fold import NativeResponsesFolder
from ccproxy.translate.neutral import Request
from ccproxy.translate.openai_chat.render import render as render_chat
from ccproxy.translate.openai_responses.render import REFUSED, render as render_responses, without
from ccproxy.translate.profiles import AnthropicProfile, ChatProfile, Profile, ResponsesProfile, default_profile
from ccproxy.translate.reading import Reader, Reading, reader
from ccproxy.translate.replay import Memory, Recorder, ReplayCache, restore, scope_of
from ccproxy.translate.stop_sequences import StopFilter, emulated
from ccproxy.translate.streaming import Folder, Pipeline, StreamTranslator

Json = dict[str, Any]

__all__ = ["Folder", "Loss", "ReplayCache", "StreamTranslator", "Translated", "translate_request"]


@dataclass(slots=True)
class Translated:
    """A translated request, and all that is needed to translate its answer back."""

    client: Format
    upstream: Format
    body: Json
    """The body for the upstream."""
    stream: bool
    """Did the client ask for a stream?"""
    changed: bool
    """False when the body is the client's own, untouched."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers that have to accompany the body, in lower case: `session-id`, the Lite header of Codex."""
    reading: Reading = field(default_factory=Reading)
    """What the upstream's response reports about itself: filled in by the translator or folder that was made last, and by `whole`, `whole_as_stream` and
    `error`."""
    _losses: Losses = field(default_factory=Losses)
    _context: AnswerContext | None = None
    _stops: tuple[str, ...] = ()
    _recorder: Recorder | None = None

    @property
    def losses(self) -> list[Loss]:
        """What the request lost."""
        return list(self._losses)

    def encode(self) -> bytes:
        """The body for the upstream, as JSON. Raises `BadRequest` when it is nested too deeply."""
        try:
            return jsontext.dump_bytes(self.body)
        except jsontext.TooDeep as error:
            raise too_deep(self._context.request if self._context is not None else self.body) from error

    def loss_header(self) -> str:
        """The value of `x-ccproxy-loss`: JSON paths, comma-separated, ASCII, at most 4 KB. Empty when nothing was lost."""
        return self._losses.header()

    def without(self, parameter: str) -> Translated:
        """The same request without a parameter that the upstream refused (`errors.unsupported_parameter`), noted as a loss."""
        return replace(self.noting([parameter], REFUSED), body=without(self.body, parameter), changed=True)

    def noting(self, paths: Iterable[str], reason: str) -> Translated:
        """Return the same request with further losses: parts that the caller left out of it."""
        losses = self._losses.merged(Losses())
        for path in paths:
            losses.add(path, reason)
        return replace(self, _losses=losses)

    def folded(self) -> Translated:
        """The same request of a client that did not ask for a stream."""
        return replace(self, stream=False)

    def stream_translator(self) -> StreamTranslator:
        """Return the translator for an upstream that streams to a client that asked for a stream. Where nothing is translated, bytes pass without one."""
        return StreamTranslator(self._pipeline(Losses()))

    def folder(self) -> Folder:
        """Return the folder for an upstream that streams to a client that did not ask for a stream."""
        if self._context is None and self.client is Format.OPENAI_RESPONSES:
            return NativeResponsesFolder(DIALECTS[self.upstream].decoder(), self._reader(), self._losses)
        losses = Losses()
        return Folder(self.client, self._pipeline(losses, folding=True), self._losses, losses)

    def whole(self, status: int, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return a whole answer in the client's format: status, headers to add, body. Never raises."""
        if status >= 400:
            return self.error(status, {}, body)
        answer = _answer_object(body)
        if self._context is None and answer is not None:
            self._reader().whole(answer)
            return status, {"content-type": "application/json"}, body
        folder = self.folder()
        if answer is not None:
            folder.feed_whole(answer)
        else:  # a stream after all, or nothing that can be read
            folder.feed(body)
        return folder.result(status)

    def whole_as_stream(self, body: bytes) -> bytes:
        """Return a whole answer of an upstream that did not stream as the stream that the client asked for. Never raises."""
        answer = _answer_object(body)
        stream = StreamTranslator(self._pipeline(Losses()))
        if answer is not None:
            return stream.feed_whole(answer)
        return stream.feed(body) + stream.close()

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Return an upstream's error in the client's format: status, headers to add (rate limits, retry-after), body. Never raises."""
        answer = _answer_object(body)
        if answer is not None:
            self._reader().whole(answer)
        return errors.translate_error(self.client, self.upstream, status, headers, body)

    def _pipeline(self, losses: Losses, *, folding: bool = False) -> Pipeline:
        context = self._context or AnswerContext(
            self.body, Names(128), str(self.body.get("model") or ""), include_usage=True
        )
        context = replace(context, losses=losses, folding=folding)
        stops = StopFilter(self._stops) if self._stops else None
        return Pipeline(
            DIALECTS[self.upstream].decoder(),
            DIALECTS[self.client].encoder(context),
            self._reader(),
            stops,
            self._recorder,
        )

    def _reader(self) -> Reader:
        made = reader(self.upstream)
        self.reading = made.reading
        return made


def _answer_object(body: bytes) -> Json | None:
    try:
        found = jsontext.parse_bytes(body)
    except jsontext.Garbled:
        return None
    return found if isinstance(found, dict) else None


def translate_request(
    client: Format,
    upstream: Format,
    body: Json,
    profile: Profile | None = None,
    *,
    replay_cache: ReplayCache | None = None,
    principal: str = "",
    provider: str = "",
    strict: bool = False,
    session_id: str | None = None,
    created: int = 0,
) -> Translated:
    """Translate a request.

    `profile` says what the upstream accepts (guessed from the model's name when left out). `principal` and `provider` keep the replay cache's entries
    apart. `created` is the Unix time in answers if the upstream does not send one.

    Raises `BadRequest` with `param` = the JSON path if the request has a part that the upstream does not support, or (with `strict`) if anything at
    all would be lost. Pure: the same arguments and cache state give the same result, and the body that is given is never changed.
    """
    profile = profile or default_profile(upstream, str(body.get("model") or ""))
    losses = Losses(strict=strict)
    try:
        if client is upstream:
            return _native(client, body, losses)
        policy.screen_fields(client, profile.target, body, losses)
        request = DIALECTS[client].parse(body, losses)
        turns, memory = request.turns, None
        if replay_cache is not None:
            memory = Memory(replay_cache, scope_of(principal, provider, request.model), upstream)
            restore(request, memory)
        rendered, names, headers = _render(request, profile, losses, session_id)
    except (RecursionError, jsontext.TooDeep) as error:
        raise too_deep(body) from error
    return Translated(
        client,
        upstream,
        rendered,
        stream=request.stream,
        changed=True,
        headers=headers,
        _losses=losses,
        _context=AnswerContext(body, names, request.model, request.include_usage, request.include, created),
        _stops=emulated(request.stops, request.stops_path) if isinstance(profile, ResponsesProfile) else (),
        _recorder=Recorder(memory, request, turns, names) if memory is not None else None,
    )


def _native(fmt: Format, body: Json, losses: Losses) -> Translated:
    adapted = native.adapt(fmt, body, losses)
    streams = body.get("stream") is True
    return Translated(fmt, fmt, adapted, streams, adapted is not body, _losses=losses)


def _render(
    request: Request, profile: Profile, losses: Losses, session_id: str | None
) -> tuple[Json, Names, dict[str, str]]:
    match profile:
        case AnthropicProfile():
            return *render_anthropic(request, profile, losses), {}
        case ChatProfile():
            return *render_chat(request, profile, losses), {}
        case ResponsesProfile():
            return render_responses(request, profile, losses, session_id)
