"""`AsyncWorker`: answers requests with asyncio. Deliberately only carries out the steps that `service` decides on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Callable

from . import tracing
from .connection import AsyncConnection, AsyncRedis
from .errors import REDIS_ERRORS
from .request import Request
from .service import Begin, Call, Handler, Invoke, Job, Pause, Room, Step, Steps, log
from .stopping import stop_on_signals
from .worker_base import WorkerBase

#: How long a handler that was cancelled may take to clean up, in seconds.
CANCEL_TIMEOUT_S = 5.0


class AsyncWorker(WorkerBase[AsyncRedis]):
    """Answers clients' requests with coroutines on one event loop.

    The arguments are those of `Worker`; `redis` is as for `AsyncPublisher`. A handler that still runs at its request's
    deadline, when nobody waits any more, is cancelled and the client told `timeout`; at the end of `stop_timeout_s` a
    handler is cancelled too, and its request left to be claimed by another worker.
    """

    _takes_coroutines = True

    def _open(self, redis: AsyncRedis) -> None:
        self._connection = AsyncConnection(redis)
        self._changed = _Changes()
        self._busy = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loops: set[asyncio.Task[None]] = set()
        self._handling: set[asyncio.Task[None]] = set()
        self._readers = 0
        self._crash: BaseException | None = None
        self._stop_was_asked = False

    async def run(self, *, signals: bool = True) -> None:
        """Answers requests until `stop()` or, with `signals` and in the main thread, SIGTERM or SIGINT. While Redis is
        away it tries again, for ever. Once for each worker. When it is cancelled it ends without waiting for handlers.
        """
        self._begin_run()
        service = self._service
        self._loop = asyncio.get_running_loop()
        block_ms = self._block_ms(self._connection.socket_timeout_s())
        self._read_steps: Callable[[str | None], Steps] = lambda tenant: service.read(block_ms, tenant)
        try:
            for tenant in self._reader_tenants(self._connection.is_cluster):
                self._start_reader(tenant)
            self._spawn(self._loops, self._carry_out(service.claim()))
            self._spawn(self._loops, self._carry_out(service.keep_alive()))
            with stop_on_signals(self.stop) if signals else contextlib.nullcontext():
                await self._changed.until(lambda: self._stop_was_asked)
            self._set_stopping()
            log.info("the worker stops; %d requests are under way", service.held())
            limit_s = service.settings.stop_timeout_s
            if not await self._changed.until(lambda: not (self._readers or service.held()), limit_s):
                log.warning("%d requests are not finished, and left to be claimed by others", service.held())
        finally:
            self._set_stopping()
            service.is_ended = True
            self._changed.tell()
            await _end(self._loops | self._handling)
            self._loop = None
            await self._carry_out(service.leave())
            await self._connection.close()
        if self._crash is not None:
            raise self._crash

    def stop(self) -> None:
        """Lets `run` finish what it works on, take no more, and return. Returns at once; from any thread."""
        self._stop_was_asked = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._changed.tell)

    def _tenant_added(self, tenant: str) -> None:
        if self._loop is not None and self._connection.is_cluster:
            self._loop.call_soon_threadsafe(self._start_reader, tenant)

    def _start_reader(self, tenant: str | None) -> None:
        self._readers += 1

        async def read() -> None:
            try:
                await self._carry_out(self._read_steps(tenant))
            finally:
                self._readers -= 1
                self._changed.tell()

        self._spawn(self._loops, read())

    def _spawn(self, tasks: set[asyncio.Task[None]], work: Any) -> None:
        def ended(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:
                self._crash = task.exception()
                self.stop()

        task: asyncio.Task[None] = asyncio.ensure_future(work)
        tasks.add(task)
        task.add_done_callback(ended)

    async def _handle(self, job: Job) -> None:
        try:
            await self._carry_out(self._service.serve(job, self._connection.is_cluster))
        finally:
            self._service.drop(job)
            self._busy -= 1
            self._changed.tell()

    async def _carry_out(self, steps: Steps) -> None:
        outcome: Any = None
        error: Exception | None = None
        while True:
            try:
                step = steps.send(outcome) if error is None else steps.throw(error)
            except StopIteration:
                return
            outcome, error = None, None
            try:
                outcome = await self._perform(step)
            except REDIS_ERRORS as failed:
                error = failed

    async def _perform(self, step: Step) -> Any:
        service = self._service
        if isinstance(step, Call):
            return await self._connection.call(step.command)
        if isinstance(step, Invoke):
            return await self._invoke(step.handler, step.request)
        if isinstance(step, Pause):
            await self._changed.until(
                lambda: service.is_ended if step.to_the_end else service.is_stopping, step.seconds
            )
        elif isinstance(step, Room):
            await self._changed.until(lambda: self._has_room() or service.is_stopping)
        elif isinstance(step, Begin):
            await self._changed.until(lambda: self._has_room() or service.is_ended)
            if service.is_ended:
                service.drop(step.job)
            else:
                self._busy += 1
                self._spawn(self._handling, self._handle(step.job))
        return None

    async def _invoke(self, handler: Handler, request: Request) -> bytes:
        try:
            with tracing.request_span(request):
                task = asyncio.ensure_future(handler(request))
                try:
                    await asyncio.wait({task}, timeout=request.remaining)
                finally:
                    if not task.done():
                        await _end({task})
                if task.cancelled():
                    log.warning("the handler of %s was cancelled, request %s", request.method, request.id)
                    return request.refusal("timeout", "the backend was too slow")
                return self._service.answer(request, task.result())
        except Exception as error:
            return self._service.failure(request, error)

    def _has_room(self) -> bool:
        return self._busy < self._service.settings.concurrency

    def _set_stopping(self) -> None:
        self._service.is_stopping = True
        self._changed.tell()


class _Changes:
    """Something has changed: whoever waits looks again. A condition variable for one event loop, without its lock."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        for waiting in list(self._waiting):
            if not waiting.done():
                waiting.set_result(None)

    async def until(self, is_so: Callable[[], bool], seconds: float | None = None) -> bool:
        """Waits until it is so; False when it isn't after so many seconds."""
        loop = asyncio.get_running_loop()
        deadline = None if seconds is None else loop.time() + seconds
        while not is_so():
            rest = None if deadline is None else deadline - loop.time()
            if rest is not None and rest <= 0:
                return False
            waiting = loop.create_future()
            self._waiting.add(waiting)
            try:
                await asyncio.wait({waiting}, timeout=rest)
            finally:
                self._waiting.discard(waiting)
        return True


async def _end(tasks: set[Any]) -> None:
    """Cancels tasks, and waits a while for their ends."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_TIMEOUT_S)
