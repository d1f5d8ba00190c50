"""redis-py's clients as their owners configure them: other protocols, texts instead of bytes, short timeouts."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import redis
import redis.asyncio

from fanfare import AsyncPublisher, AsyncWorker, Event, Publisher, Request, Worker, channel

from .requests import Asker
from .support import PATIENCE_S, Node, RedisServer

#: Shorter than a worker's read may block where nothing forbids it.
SHORT_S = 0.9

OPTIONS = [
    pytest.param({"protocol": protocol, "decode_responses": decode, "socket_timeout": timeout_s}, id=name)
    for name, protocol, decode, timeout_s in [
        ("bytes", 2, False, None),
        ("texts", 2, True, SHORT_S),
        ("resp3-bytes", 3, False, SHORT_S),
        ("resp3-texts", 3, True, None),
    ]
]


@pytest.fixture
def stalled(asker: Asker, client: Any) -> str:
    """A request that a worker has taken and not finished."""
    request = asker.ask("count")
    client.xgroup_create(asker.stream, "backend", "0")
    client.xreadgroup("backend", "dead", {asker.stream: ">"})
    return request


def answers(asker: Asker) -> dict[str, Any]:
    return {answer["request"]: answer["data"] for answer in (asker.answer(), asker.answer())}


@pytest.mark.parametrize("options", OPTIONS)
def test_a_blocking_client_of_any_kind_serves(
    options: Any, server: RedisServer, node: Node, asker: Asker, stalled: str
) -> None:
    with redis.Redis(port=server.port, **options) as own:
        publisher = Publisher(own)
        first = publisher.publish("acme", channel("a"), "x", durable=True)
        (result,) = publisher.publish_many([Event("acme", channel("a"), "x", durable=True)])
        assert result.position is not None
        assert result.position.split("-")[0] == first.split("-")[0]

        worker = Worker(own, "acme", claim_idle_ms=300)
        worker.method("count")(lambda request: request.deliveries)
        thread = threading.Thread(target=worker.run)
        thread.start()
        fresh = asker.ask("count")
        assert answers(asker) == {stalled: 2, fresh: 1}
        worker.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert [consumer["name"] for consumer in asker.consumers()] == ["dead"]
        assert own.ping(), "it is left open to its owner"


@pytest.mark.parametrize("options", OPTIONS)
def test_an_asyncio_client_of_any_kind_serves(
    options: Any, server: RedisServer, node: Node, asker: Asker, stalled: str
) -> None:
    async def story() -> None:
        async with redis.asyncio.Redis(port=server.port, **options) as own:
            publisher = AsyncPublisher(own)
            first = await publisher.publish("acme", channel("a"), "x", durable=True)
            (result,) = await publisher.publish_many([Event("acme", channel("a"), "x", durable=True)])
            assert result.position is not None
            assert result.position.split("-")[0] == first.split("-")[0]

            worker = AsyncWorker(own, "acme", claim_idle_ms=300)

            @worker.method("count")
            async def count(request: Request) -> int:
                return request.deliveries

            running = asyncio.ensure_future(worker.run())
            fresh = asker.ask("count")
            found = await asyncio.get_running_loop().run_in_executor(None, answers, asker)
            assert found == {stalled: 2, fresh: 1}
            worker.stop()
            await running
            assert [consumer["name"] for consumer in asker.consumers()] == ["dead"]
            alive: Any = own.ping()
            assert await alive, "it is left open to its owner"

    asyncio.run(story())
