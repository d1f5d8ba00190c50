"""`Publisher` and `AsyncPublisher`: events out. Deliberately only the I/O; what is sent is made in `commands`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar, overload

from .commands import Publishing, Result, position
from .connection import AsyncConnection, AsyncRedis, SyncConnection, SyncRedis
from .errors import REDIS_ERRORS, from_redis
from .event import EVENT_BYTES_MAX, Event, JsonDefault
from .keyspace import PREFIX

_Redis = TypeVar("_Redis")


class _Settings(Generic[_Redis]):
    def __init__(
        self,
        redis: _Redis,
        *,
        prefix: str = PREFIX,
        event_bytes_max: int = EVENT_BYTES_MAX,
        batch_size: int = 256,
        stamp: bool = True,
        trace: bool = True,
        json_default: JsonDefault | None = None,
    ) -> None:
        self._publishing = Publishing(prefix, event_bytes_max, batch_size, stamp, trace, json_default)
        self._open(redis)

    def _open(self, redis: _Redis) -> None:
        raise NotImplementedError


class Publisher(_Settings[SyncRedis]):
    """Publishes events, blocking. Safe to use from many threads; one for a process is enough.

    `redis`: a client of redis-py (`redis.Redis`, `redis.RedisCluster`), which stays yours and keeps its own timeouts
    and retries, or a URL as the nodes' `FANFARE_BACKPLANE` has it (`redis://`, `rediss://`, `unix://`,
    `redis+cluster://`, `redis+sentinel://`): then each answer may take 5 seconds, and nothing is ever sent twice.

    - `prefix`: the nodes' setting `redis_prefix`.
    - `event_bytes_max`: the largest event in bytes, the nodes' setting of that name.
    - `batch_size`: how many events `publish_many` sends in one pipeline, at most.
    - `stamp`: whether an event without `at` gets this machine's time.
    - `trace`: whether publishing is a span, where OpenTelemetry is set up, that goes into events without `traceparent`.
    - `json_default`: for values of `data` that JSON doesn't know, such as `datetime`: `default` of `json.dumps`.
    """

    def _open(self, redis: SyncRedis) -> None:
        self._connection = SyncConnection(redis)

    @overload
    def publish(
        self,
        tenant: str,
        topic: str,
        type: str,
        data: Any = None,
        *,
        id: str | None = None,
        at: int | datetime | None = None,
        key: str | None = None,
        except_connection: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        durable: Literal[False] = False,
    ) -> None: ...

    @overload
    def publish(
        self,
        tenant: str,
        topic: str,
        type: str,
        data: Any = None,
        *,
        id: str | None = None,
        at: int | datetime | None = None,
        key: str | None = None,
        except_connection: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        durable: Literal[True],
        maxlen: int | None = None,
        ttl_ms: int | None = None,
        idempotency_id: str | None = None,
    ) -> str: ...

    def publish(self, tenant: str, topic: str, type: str, data: Any = None, **options: Any) -> str | None:
        """Publishes one event; what the arguments mean, `Event` says.

        Returns the position of a durable event, and None for an ephemeral one, which reaches whoever is connected now.
        Raises `InvalidValue` before anything is sent, `Refused` (`LibraryMissing`) or `Unavailable`.
        """
        event = Event(tenant, topic, type, data, **options)
        with self._publishing.sending(event, self._connection.is_cluster) as command:
            try:
                answer = self._connection.call(command)
            except REDIS_ERRORS as error:
                raise from_redis(error) from error
            return position(event, answer)

    def publish_many(self, events: Iterable[Event]) -> list[Result]:
        """Publishes many events with few round trips, each topic's in their order. One that is invalid or refused keeps
        none of the others back.

        Returns a `Result` for each, in order. Raises no error of this library: when Redis goes away, the events of the
        pipeline that was under way have an `Unavailable` that says that nobody knows, and the rest are not sent.
        """
        batch = self._publishing.batch(events, self._connection.is_cluster)
        answers: list[Any] | Exception
        try:
            pipeline = next(batch)
            while True:
                try:
                    with pipeline.span.active():
                        answers = self._connection.pipeline(pipeline.commands)
                except REDIS_ERRORS as error:
                    answers = error
                pipeline = batch.send(answers)
        except StopIteration as done:
            return list(done.value)

    def close(self) -> None:
        """Closes the connections, when they were made from a URL."""
        self._connection.close()

    def __enter__(self) -> Publisher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncPublisher(_Settings[AsyncRedis]):
    """Publishes events with asyncio, from one event loop. The arguments are those of `Publisher`; `redis` is a
    `redis.asyncio.Redis`, a `redis.asyncio.RedisCluster` or a URL.
    """

    def _open(self, redis: AsyncRedis) -> None:
        self._connection = AsyncConnection(redis)

    @overload
    async def publish(
        self,
        tenant: str,
        topic: str,
        type: str,
        data: Any = None,
        *,
        id: str | None = None,
        at: int | datetime | None = None,
        key: str | None = None,
        except_connection: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        durable: Literal[False] = False,
    ) -> None: ...

    @overload
    async def publish(
        self,
        tenant: str,
        topic: str,
        type: str,
        data: Any = None,
        *,
        id: str | None = None,
        at: int | datetime | None = None,
        key: str | None = None,
        except_connection: str | None = None,
        traceparent: str | None = None,
        tracestate: str | None = None,
        durable: Literal[True],
        maxlen: int | None = None,
        ttl_ms: int | None = None,
        idempotency_id: str | None = None,
    ) -> str: ...

    async def publish(self, tenant: str, topic: str, type: str, data: Any = None, **options: Any) -> str | None:
        """Publishes one event: as `Publisher.publish`."""
        event = Event(tenant, topic, type, data, **options)
        with self._publishing.sending(event, self._connection.is_cluster) as command:
            try:
                answer = await self._connection.call(command)
            except REDIS_ERRORS as error:
                raise from_redis(error) from error
            return position(event, answer)

    async def publish_many(self, events: Iterable[Event]) -> list[Result]:
        """Publishes many events: as `Publisher.publish_many`."""
        batch = self._publishing.batch(events, self._connection.is_cluster)
        answers: list[Any] | Exception
        try:
            pipeline = next(batch)
            while True:
                try:
                    with pipeline.span.active():
                        answers = await self._connection.pipeline(pipeline.commands)
                except REDIS_ERRORS as error:
                    answers = error
                pipeline = batch.send(answers)
        except StopIteration as done:
            return list(done.value)

    async def close(self) -> None:
        """Closes the connections, when they were made from a URL."""
        await self._connection.close()

    async def __aenter__(self) -> AsyncPublisher:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
