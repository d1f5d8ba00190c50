"""From an event to the Redis command that publishes it, and from Redis's answer to a position. Deliberately without
I/O: the blocking publisher and the one for asyncio share all of this."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

from .connection import Command
from .errors import REDIS_ERRORS, FanfareError, InvalidValue, Refused, Unavailable, from_redis
from .event import EVENT_BYTES_MAX, Event, JsonDefault, check, envelope
from .keyspace import PREFIX, Keyspace
from .producer_spans import BatchSpan, Untraced, send_span, start_creation


@dataclass(frozen=True)
class Result:
    """What became of one event of a batch."""

    #: Where a durable event stands in its topic; None for an ephemeral one, and when it was not published.
    position: str | None = None
    #: Why it was not published; None when it was.
    error: FanfareError | None = None

    @property
    def ok(self) -> bool:
        """Whether Redis has taken it."""
        return self.error is None


@dataclass(frozen=True)
class Publishing:
    """How events become commands. The fields are the keyword arguments of the publishers."""

    #: What keys and channels begin with: the nodes' setting `redis_prefix`.
    prefix: str = PREFIX
    #: The largest envelope, in bytes: the nodes' setting `event_bytes_max`.
    event_bytes_max: int = EVENT_BYTES_MAX
    #: How many events of a batch travel together, at most.
    batch_size: int = 256
    #: Whether an event without `at` gets the time of this machine.
    stamp: bool = True
    #: Whether publishing is a span, where OpenTelemetry is set up, that goes into events without `traceparent`.
    trace: bool = True
    #: For values of `data` that JSON doesn't know: `default` of `json.dumps`.
    json_default: JsonDefault | None = None

    def __post_init__(self) -> None:
        Keyspace(self.prefix)
        if self.batch_size < 1:
            raise InvalidValue("batch_size", f"must be at least 1 event, and is {self.batch_size}")

    @contextmanager
    def sending(self, event: Event, is_cluster: bool) -> Iterator[Command]:
        """The command that publishes an event, within whose span it is to be sent. Raises `InvalidValue`."""
        check(event)
        with send_span(event, self.trace) as span:
            yield self._command(event, is_cluster, span)

    def batch(
        self, events: Iterable[Event], is_cluster: bool
    ) -> Generator[Pipeline, list[Any] | Exception, list[Result]]:
        """Yields one pipeline after the other, and is sent their answers, or why there are none."""
        results: list[Result] = []
        remaining = iter(events)
        lost: Exception | None = None
        while chunk := list(islice(remaining, self.batch_size)):
            if lost is not None:
                unsent = Unavailable(f"not sent, since Redis went away before: {lost}", maybe_published=False)
                results.extend([Result(error=unsent)] * len(chunk))
                continue
            prepared = [self._prepare(event, is_cluster) for event in chunk]
            ready = [item for item in prepared if isinstance(item, _Prepared)]
            sent: list[Result] = []
            if ready:
                span = BatchSpan([item.span for item in ready])
                answers = yield Pipeline([item.command for item in ready], span)
                if isinstance(answers, Exception):
                    lost = answers
                    answers = [answers] * len(ready)
                sent = [_result(item.event, answer) for item, answer in zip(ready, answers)]
                span.end([result.error for result in sent])
            following = iter(sent)
            results += [next(following) if isinstance(item, _Prepared) else Result(error=item) for item in prepared]
        return results

    def _prepare(self, event: Event, is_cluster: bool) -> _Prepared | InvalidValue:
        try:
            check(event)
            span = start_creation(event, self.trace)
            return _Prepared(event, span, self._command(event, is_cluster, span))
        except InvalidValue as invalid:
            return invalid

    def _command(self, event: Event, is_cluster: bool, span: Untraced) -> Command:
        payload = span.make(
            lambda trace: envelope(
                event,
                at=time.time_ns() // 1_000_000 if self.stamp else None,
                trace=trace,
                json_default=self.json_default,
                bytes_max=self.event_bytes_max,
            )
        )
        key = Keyspace(self.prefix).topic(event.tenant, event.topic)
        if event.durable:
            return Command(key, _durable(key, payload, event))
        return send(key, payload, is_cluster)


class Pipeline(NamedTuple):
    """What is sent at once."""

    commands: Sequence[Command]
    #: Within which it is to be sent.
    span: BatchSpan


class _Prepared(NamedTuple):
    event: Event
    span: Untraced
    command: Command


def send(key: str, payload: bytes, is_cluster: bool) -> Command:
    """The command of an ephemeral payload. On a Redis Cluster, where PUBLISH reaches nobody, the nodes' function does
    it; elsewhere PUBLISH does, for which no function library is needed."""
    if is_cluster:
        return Command(key, ("FCALL", "fanfare_send", 1, key, payload))
    return Command(key, ("PUBLISH", key, payload))


def position(event: Event, answer: Any) -> str | None:
    """The position of a durable event; None for an ephemeral one."""
    if not event.durable:
        return None
    text = answer.decode() if isinstance(answer, bytes) else answer
    epoch, _, seq = text.partition("-") if isinstance(text, str) else ("", "", "")
    if not (epoch.isdigit() and seq.isdigit()):
        raise Refused(f"{text!r} is no position: is another function called fanfare_publish here?", "ERR")
    return f"{epoch}-{seq}"


def _durable(key: str, payload: bytes, event: Event) -> tuple[str | bytes | int, ...]:
    # All keys are declared, so that a slot on its way to another server answers TRYAGAIN instead of half a publish.
    keys = [key, Keyspace.head(key)]
    options: list[str | int] = []
    if event.maxlen is not None:
        options += ["maxlen", event.maxlen]
    if event.ttl_ms is not None:
        options += ["ttl_ms", event.ttl_ms]
    if event.idempotency_id is not None:
        keys.append(Keyspace.idempotency(key, event.idempotency_id))
        options += ["id", event.idempotency_id]
    return ("FCALL", "fanfare_publish", len(keys), *keys, payload, *options)


def _result(event: Event, answer: Any) -> Result:
    if isinstance(answer, REDIS_ERRORS):
        return Result(error=from_redis(answer))
    try:
        return Result(position=position(event, answer))
    except FanfareError as error:
        return Result(error=error)
