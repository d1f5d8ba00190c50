"""Both kinds of publishers and workers behind one face, so that each story is told once and holds for both."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from fanfare import AsyncPublisher, AsyncWorker, Publisher, Request, Worker

from .support import PATIENCE_S

KINDS = ["sync", "async"]


class Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def call(self, function: Callable[[], Any]) -> Any:
        async def called() -> Any:
            return function()

        return self.do(called())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()


class AnyPublisher:
    """A `Publisher`, or an `AsyncPublisher` that is waited for. `redis` may be a function that makes a client."""

    def __init__(self, kind: str, redis: Any, loop: Loop, **settings: Any) -> None:
        self._is_async, self._loop = kind == "async", loop
        self._own = redis if callable(redis) else None
        if self._own is not None:
            # Before Python 3.10 a client belongs to the event loop in which it is made.
            redis = self._own = loop.call(self._own)
        made = AsyncPublisher if self._is_async else Publisher
        self._publisher: Any = made(redis, **settings)

    def publish(self, *arguments: Any, **options: Any) -> Any:
        return self._finish(self._publisher.publish(*arguments, **options))

    def publish_many(self, events: Any) -> Any:
        return self._finish(self._publisher.publish_many(events))

    def close(self) -> None:
        self._finish(self._publisher.close())
        if self._own is not None:
            self._finish(self._own.aclose() if self._is_async else self._own.close())

    def _finish(self, outcome: Any) -> Any:
        return self._loop.do(outcome) if self._is_async else outcome


class AnyWorker:
    """A `Worker` or an `AsyncWorker` that runs in a thread. Its handlers are plain functions in any case."""

    def __init__(self, kind: str, redis: Any, tenants: Any, **settings: Any) -> None:
        self._is_async = kind == "async"
        made = AsyncWorker if self._is_async else Worker
        self.worker: Any = made(redis, tenants, **settings)
        self._executor = ThreadPoolExecutor(32)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.crash: BaseException | None = None

    def method(self, name: str, handler: Callable[[Request], Any]) -> AnyWorker:
        async def in_thread(request: Request) -> Any:
            return await asyncio.get_running_loop().run_in_executor(self._executor, handler, request)

        self.worker.method(name)(in_thread if self._is_async else handler)
        return self

    def start(self) -> AnyWorker:
        self._thread.start()
        return self

    def ask_to_stop(self) -> None:
        self.worker.stop()

    def has_ended(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        self.worker.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the worker does not stop"
        self._executor.shutdown(wait=False)
        if self.crash is not None:
            raise self.crash

    def _run(self) -> None:
        try:
            if self._is_async:
                asyncio.run(self.worker.run())
            else:
                self.worker.run()
        except BaseException as crash:
            self.crash = crash
