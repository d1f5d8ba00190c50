"""From an event to the Redis command that publishes it, and from Redis's answer to a position. Deliberately without
I/O: the blocking publisher and the one for asyncio share all of this."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from . import tracing
from .connection import Command
from .errors import REDIS_ERRORS, FanfareError, InvalidValue, Refused, Unavailable, from_redis
from .event import EVENT_BYTES_MAX, Event, JsonDefault, check, envelope
from .keyspace import PREFIX, Keyspace


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
    #: Whether an event without `traceparent` gets that of the active OpenTelemetry span.
    trace: bool = True
    #: For values of `data` that JSON doesn't know: `default` of `json.dumps`.
    json_default: JsonDefault | None = None

    def __post_init__(self) -> None:
        Keyspace(self.prefix)
        if self.batch_size < 1:
            raise InvalidValue("batch_size", f"must be at least 1 event, and is {self.batch_size}")

    def command(self, event: Event, is_cluster: bool) -> Command:
        """The command that publishes an event. Raises `InvalidValue`."""
        check(event)
        payload = envelope(
            event,
            at=time.time_ns() // 1_000_000 if self.stamp else None,
            trace=tracing.current() if self.trace else None,
            json_default=self.json_default,
            bytes_max=self.event_bytes_max,
        )
        key = Keyspace(self.prefix).topic(event.tenant, event.topic)
        if event.durable:
            return Command(key, _durable(key, payload, event))
        return send(key, payload, is_cluster)

    def batch(
        self, events: Iterable[Event], is_cluster: bool
    ) -> Generator[Sequence[Command], list[Any] | Exception, list[Result]]:
        """Yields the commands of one pipeline after the other, and is sent their answers, or why there are none."""
        results: list[Result] = []
        remaining = iter(events)
        lost: Exception | None = None
        while chunk := list(islice(remaining, self.batch_size)):
            if lost is not None:
                unsent = Unavailable(f"not sent, since Redis went away before: {lost}", maybe_published=False)
                results.extend([Result(error=unsent)] * len(chunk))
                continue
            prepared = [self._attempt(event, is_cluster) for event in chunk]
            commands = [item for item in prepared if isinstance(item, Command)]
            answers: list[Any] | Exception = []
            if commands:
                answers = yield commands
            if isinstance(answers, Exception):
                lost = answers
                answers = [answers] * len(commands)
            following = zip(answers, (event for event, item in zip(chunk, prepared) if isinstance(item, Command)))
            for item in prepared:
                if isinstance(item, Command):
                    answer, event = next(following)
                    results.append(_result(event, answer))
                else:
                    results.append(Result(error=item))
        return results

    def _attempt(self, event: Event, is_cluster: bool) -> Command | InvalidValue:
        try:
            return self.command(event, is_cluster)
        except InvalidValue as invalid:
            return invalid


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
