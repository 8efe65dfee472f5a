"""The interface of the translator: everything that a gateway needs to serve a client of one format from an upstream of another.

    exchange = translate_request(Format.OPENAI_CHAT, Format.ANTHROPIC, body, AnthropicProfile.of_model(body["model"]))
    send(exchange.encode(), exchange.headers)
    SSE to a client that streams:     t = exchange.stream_translator(); out = t.feed(chunk); …; out = t.close()
    SSE to a client that does not:    f = exchange.folder(); f.feed(chunk); …; status, headers, out = f.result()
    JSON:                             status, headers, out = exchange.whole(status, body)
    JSON to a client that streams:    out = exchange.whole_as_stream(body)
    an error response:                status, headers, out = exchange.error(status, headers, body)

If client and upstream use the same format, nothing is translated: see `native`. A gateway that has the bytes forwards them unless `exchange.changed` is set.
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
    """A translated request, and everything needed to translate its answer."""

    client: Format
    upstream: Format
    body: Json
    """The body for the upstream."""
    stream: bool
    """Whether the client asked for a stream."""
    changed: bool
    """False if the body is the client's own object."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers for the upstream, in lower case: `session-id`, and the Lite header of Codex."""
    reading: Reading = field(default_factory=Reading)
    """What the upstream's response reports about itself: filled in by the translator or folder that was made last, and by `whole`, `whole_as_stream` and
    `error`."""
    _losses: Losses = field(default_factory=Losses)
    _context: AnswerContext | None = None
    _stops: tuple[str, ...] = ()
    _recorder: Recorder | None = None

    @property
    def losses(self) -> list[Loss]:
        """The losses of the request."""
        return list(self._losses)

    def encode(self) -> bytes:
        """The body for the upstream, as JSON. Raises `BadRequest` if it is nested too deeply."""
        try:
            return jsontext.dump_bytes(self.body)
        except jsontext.TooDeep as error:
            raise too_deep(self._context.request if self._context is not None else self.body) from error

    def loss_header(self) -> str:
        """The value of `x-ccproxy-loss`, see `losses.loss_header`. Empty if nothing was lost."""
        return self._losses.header()

    def without(self, parameter: str) -> Translated:
        """The same request without a parameter that the upstream refused (`errors.unsupported_parameter`), noted as a loss."""
        return replace(self.noting([parameter], REFUSED), body=without(self.body, parameter), changed=True)

    def noting(self, paths: Iterable[str], reason: str) -> Translated:
        """The same request with further losses, of parts that the caller left out."""
        losses = self._losses.merged(Losses())
        for path in paths:
            losses.add(path, reason)
        return replace(self, _losses=losses)

    def folded(self) -> Translated:
        """The same request, as from a client that did not ask for a stream."""
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
        else:  # a stream, or unreadable
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
        new = reader(self.upstream)
        self.reading = new.reading
        return new


def _answer_object(body: bytes) -> Json | None:
    try:
        value = jsontext.parse_bytes(body)
    except jsontext.Garbled:
        return None
    return value if isinstance(value, dict) else None


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

    `profile` is what the upstream accepts, by default guessed from the model's name. `principal` and `provider` separate the entries of the replay cache.
    `created` is the Unix time for answers, if the upstream does not send one.

    Raises `BadRequest` with the JSON path as `param` if the upstream does not support something that the answer depends on or, with `strict`, if anything
    would be lost. Pure: the same arguments and cache give the same result, and `body` is never changed.
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
