"""`Worker`: answers requests with threads. Deliberately only carries out the steps that `service` decides on."""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import Any, Callable

from . import tracing
from .connection import SyncConnection, SyncRedis
from .errors import REDIS_ERRORS
from .request import Request
from .service import Begin, Call, Handler, Invoke, Job, Pause, Room, Step, Steps, log
from .stopping import stop_on_signals
from .worker_base import WorkerBase


class Worker(WorkerBase[SyncRedis]):
    """Answers clients' requests, each in one of `concurrency` threads.

    `redis`: as for `Publisher`. A client of yours must be free to make connections: one for each thread and three more,
    on a Redis Cluster one more for each tenant. `tenants`: one or many; see also `add_tenant`.

    - `group`: the consumer group. Workers of one group share its requests; each group gets them all.
    - `prefix`: the nodes' setting `redis_prefix`.
    - `consumer`: the name in the group, different for each worker; made of host, process and chance when left out.
    - `concurrency`: how many requests are worked on at once, at most.
    - `start`: where a new group begins: `$` with the requests from now on, `0` with those that are there.
    - `claim_idle_ms`: a request of which its worker gave no sign of life for so long is taken over. A living worker
      gives one every third of that time, however long its handler takes.
    - `deliveries_max`: how many workers get a request, one after the other, before it is answered with `internal`.
    - `unknown_methods`: what becomes of a request that has no handler: `refuse` answers it with `no_backend`; `ignore`
      leaves it to other groups, whose workers have one.
    - `answer_bytes_max`: the largest answer, in bytes.
    - `stop_timeout_s`: how long a stop waits for what runs, in seconds. What isn't ready then stays pending in the
      group, and another worker claims it.
    - `json_default`: for values of answers that JSON doesn't know: `default` of `json.dumps`.

    Requests come at least once: after a worker has died, another one gets the same `Request.id`. Those whose deadline
    has passed, by this machine's clock, are skipped.
    """

    _takes_coroutines = False

    def _open(self, redis: SyncRedis) -> None:
        self._connection = SyncConnection(redis)
        # Whoever waits for anything waits for this, and looks at the state of the service again.
        self._changed = threading.Condition()
        self._busy = 0
        self._readers = 0
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        # Of all that wakes a thread only this may be used by a signal's handler.
        self._stops: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._is_running = False

    def run(self, *, signals: bool = True) -> None:
        """Answers requests until `stop()` or, with `signals` and in the main thread, SIGTERM or SIGINT. While Redis is
        away it tries again, for ever. Once for each worker.
        """
        self._begin_run()
        service = self._service
        block_ms = self._block_ms(self._connection.socket_timeout_s())
        self._read_steps: Callable[[str | None], Steps] = lambda tenant: service.read(block_ms, tenant)
        handlers: list[threading.Thread] = []
        try:
            # Before anything is taken: a signal would still end the process then, whatever it had begun.
            with stop_on_signals(self.stop) if signals else contextlib.nullcontext():
                handlers += [self._spawn("handler", self._handle_jobs) for _ in range(service.settings.concurrency)]
                with self._changed:
                    self._is_running = True
                    for tenant in self._reader_tenants(self._connection.is_cluster):
                        self._start_reader(tenant)
                self._spawn("claim", lambda: self._carry_out(service.claim()))
                self._spawn("keep-alive", lambda: self._carry_out(service.keep_alive()))
                crash = self._stops.get()
            self._set_stopping()
            log.info("the worker stops; %d requests are under way", service.held())
            if not self._wait(lambda: not (self._readers or service.held()), service.settings.stop_timeout_s):
                log.warning("%d requests are not finished, and left to be claimed by others", service.held())
        finally:
            self._set_stopping()
            with self._changed:
                service.is_ended = True
                self._changed.notify_all()
            for _ in handlers:
                self._jobs.put(None)
            self._carry_out(service.leave())
            self._connection.close()
        if crash is not None:
            raise crash

    def stop(self) -> None:
        """Lets `run` finish what it works on, take no more, and return. Returns at once; from any thread or signal
        handler."""
        self._stops.put(None)

    def _tenant_added(self, tenant: str) -> None:
        with self._changed:
            if self._is_running and self._connection.is_cluster:
                self._start_reader(tenant)

    def _start_reader(self, tenant: str | None) -> None:
        """The caller has `_changed`."""
        self._readers += 1

        def read() -> None:
            try:
                self._carry_out(self._read_steps(tenant))
            finally:
                with self._changed:
                    self._readers -= 1
                    self._changed.notify_all()

        self._spawn("reader", read)

    def _spawn(self, purpose: str, work: Callable[[], None]) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as crash:
                self._stops.put(crash)

        # A daemon, since a handler that hangs must not keep the process from ending.
        thread = threading.Thread(target=guarded, name=f"fanfare-{purpose}", daemon=True)
        thread.start()
        return thread

    def _handle_jobs(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._carry_out(self._service.serve(job, self._connection.is_cluster))
            finally:
                self._service.drop(job)
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _carry_out(self, steps: Steps) -> None:
        outcome: Any = None
        error: Exception | None = None
        while True:
            try:
                step = steps.send(outcome) if error is None else steps.throw(error)
            except StopIteration:
                return
            outcome, error = None, None
            try:
                outcome = self._perform(step)
            except REDIS_ERRORS as failed:
                error = failed

    def _perform(self, step: Step) -> Any:
        service = self._service
        if isinstance(step, Call):
            return self._connection.call(step.command)
        if isinstance(step, Invoke):
            return self._invoke(step.handler, step.request)
        if isinstance(step, Pause):
            self._wait(lambda: service.is_ended if step.to_the_end else service.is_stopping, step.seconds)
        elif isinstance(step, Room):
            self._wait(lambda: self._has_room() or service.is_stopping)
        elif isinstance(step, Begin):
            self._begin(step.job)
        return None

    def _begin(self, job: Job) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._has_room() or self._service.is_ended)
            if not self._service.is_ended:
                self._busy += 1
                self._jobs.put(job)
                return
        self._service.drop(job)

    def _invoke(self, handler: Handler, request: Request) -> bytes:
        try:
            with tracing.request_span(request):
                return self._service.answer(request, handler(request))
        except Exception as error:
            return self._service.failure(request, error)

    def _has_room(self) -> bool:
        return self._busy < self._service.settings.concurrency

    def _set_stopping(self) -> None:
        with self._changed:
            self._service.is_stopping = True
            self._changed.notify_all()

    def _wait(self, is_so: Callable[[], bool], seconds: float | None = None) -> bool:
        with self._changed:
            return self._changed.wait_for(is_so, seconds)
