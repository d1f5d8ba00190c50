"""What the stories are given: a Redis, a node on it, publishers and workers of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
import redis

from .backends import KINDS, AnyPublisher, AnyWorker, Loop
from .requests import Asker
from .support import Node, RedisCluster, RedisServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    yield server
    server.process.kill()


@pytest.fixture
def client(server: RedisServer) -> Iterator[Any]:
    """redis-py's client, for what the story does beside the library."""
    with redis.Redis(port=server.port, decode_responses=True) as client:
        yield client


@pytest.fixture
def node(server: RedisServer, tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "node", server.url)
    yield node
    node.process.kill()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    cluster = RedisCluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.kill()


@pytest.fixture(scope="session")
def cluster_node(cluster: RedisCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("node"), cluster.url)
    yield node
    node.process.kill()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def publisher(kind: str) -> Iterator[Callable[..., AnyPublisher]]:
    """Makes a publisher of this kind: `publisher(url, prefix="other")`."""
    loop, made = Loop(), []

    def make(server: Any, **settings: Any) -> AnyPublisher:
        made.append(AnyPublisher(kind, server, loop, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()
    loop.close()


@pytest.fixture
def worker(kind: str) -> Iterator[Callable[..., AnyWorker]]:
    """Makes a worker of this kind, which notices quickly what others do: `worker(url, ["acme"])`."""
    made: list[AnyWorker] = []

    def make(server: Any, tenants: Any = "acme", **settings: Any) -> AnyWorker:
        made.append(AnyWorker(kind, server, tenants, **{"claim_idle_ms": 300, "start": "0", **settings}))
        return made[-1]

    yield make
    for each in made:
        if not each.has_ended():
            each.stop()


@pytest.fixture
def asker(client: Any) -> Iterator[Asker]:
    asker = Asker(client)
    yield asker
    asker.close()
