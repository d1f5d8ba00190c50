"""What `Worker` and `AsyncWorker` have in common for their users. Deliberately without threads and tasks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Callable, Generic, Literal, TypeVar

from .event import EVENT_BYTES_MAX, JsonDefault
from .keyspace import PREFIX
from .service import BLOCK_MS, Service, Settings

Redis = TypeVar("Redis")
HandlerType = TypeVar("HandlerType", bound=Callable[..., Any])


class WorkerBase(Generic[Redis]):
    """A worker without the part that runs it."""

    _takes_coroutines: bool

    def __init__(
        self,
        redis: Redis,
        tenants: str | Iterable[str],
        *,
        group: str = "backend",
        prefix: str = PREFIX,
        consumer: str | None = None,
        concurrency: int = 8,
        start: Literal["$", "0"] = "$",
        claim_idle_ms: int = 5000,
        deliveries_max: int = 3,
        unknown_methods: Literal["refuse", "ignore"] = "refuse",
        answer_bytes_max: int = EVENT_BYTES_MAX,
        stop_timeout_s: float = 25.0,
        json_default: JsonDefault | None = None,
    ) -> None:
        self._service = Service(
            tenants,
            Settings(
                group=group,
                prefix=prefix,
                consumer=consumer,
                concurrency=concurrency,
                start=start,
                claim_idle_ms=claim_idle_ms,
                deliveries_max=deliveries_max,
                unknown_methods=unknown_methods,
                answer_bytes_max=answer_bytes_max,
                stop_timeout_s=stop_timeout_s,
                json_default=json_default,
            ),
        )
        self._has_run = False
        self._open(redis)

    def method(self, name: str) -> Callable[[HandlerType], HandlerType]:
        """A decorator: the function answers requests of this method.

        It takes a `Request` and returns the data of the answer, anything that JSON can hold. `RequestError` is the
        error that the client gets; any other exception is logged, and the client is told no more than `internal`.
        """

        def register(handler: HandlerType) -> HandlerType:
            if inspect.iscoroutinefunction(handler) != self._takes_coroutines:
                kind = "coroutine functions (async def)" if self._takes_coroutines else "plain functions (def)"
                raise TypeError(f"the handlers of {type(self).__name__} are {kind}, and the one of {name!r} is none")
            self._service.register(name, handler)
            return handler

        return register

    def add_tenant(self, tenant: str) -> None:
        """Takes requests of one more tenant, from now on. Raises `InvalidValue`."""
        if self._service.add_tenant(tenant):
            self._tenant_added(tenant)

    def remove_tenant(self, tenant: str) -> None:
        """Takes no more requests of a tenant. Those that were taken are finished."""
        self._service.remove_tenant(tenant)

    def _begin_run(self) -> None:
        if self._has_run:
            raise RuntimeError(f"this {type(self).__name__} has run already: make another one")
        self._has_run = True

    def _reader_tenants(self, is_cluster: bool) -> Sequence[str | None]:
        """For each reader its tenant: on a cluster one for each, since their streams are on different servers; else one
        reader for all."""
        return [*self._service.tenants()] if is_cluster else [None]

    @staticmethod
    def _block_ms(socket_timeout_s: float | None) -> int:
        # A read that waited longer than the client does would look like a dead connection.
        return BLOCK_MS if socket_timeout_s is None else max(1, min(BLOCK_MS, int(socket_timeout_s * 500)))

    def _open(self, redis: Redis) -> None:
        raise NotImplementedError

    def _tenant_added(self, tenant: str) -> None:
        raise NotImplementedError
