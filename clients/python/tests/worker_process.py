"""A worker in a process of its own, which stories kill, freeze and stop: `python -m tests.worker_process <kind> <url>`.
Its handler `slow` says that it has begun, and goes on when the key `go` is there."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import redis

from fanfare import AsyncWorker, Request, Worker


def main(kind: str, url: str, consumer: str) -> None:
    side: Any = redis.Redis.from_url(url)

    def begin(request: Request) -> str:
        side.rpush("begun", request.id)
        return consumer

    if kind == "sync":
        worker = Worker(url, "acme", consumer=consumer, start="0", claim_idle_ms=600)

        @worker.method("slow")
        def slow(request: Request) -> str:
            name = begin(request)
            while not side.exists("go"):
                time.sleep(0.01)
            return name

        worker.run()
    else:
        async_worker = AsyncWorker(url, "acme", consumer=consumer, start="0", claim_idle_ms=600)

        @async_worker.method("slow")
        async def slow_async(request: Request) -> str:
            name = begin(request)
            while not side.exists("go"):
                await asyncio.sleep(0.01)
            return name

        asyncio.run(async_worker.run())
    side.rpush("stopped", consumer)


if __name__ == "__main__":
    main(*sys.argv[1:])
