"""On a Redis Cluster, where topics are sharded and a plain PUBLISH reaches nobody."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable

import pytest
import redis
import redis.asyncio

from fanfare import Event, InvalidValue, channel

from .backends import AnyPublisher, AnyWorker
from .support import PATIENCE_S, Node, RedisCluster, until

TOPICS = [channel(name) for name in ("a", "b", "c", "d", "e", "f")]


@pytest.fixture
def tenant(kind: str, request: pytest.FixtureRequest) -> str:
    """One for each story, since all share one cluster."""
    return f"{request.node.originalname[:50]}_{kind}"


def test_events_of_both_kinds_come_from_every_server(
    cluster: RedisCluster, cluster_node: Node, publisher: Callable[..., AnyPublisher], tenant: str
) -> None:
    publish = publisher(cluster.url).publish
    with cluster_node.client(*TOPICS, tenant=tenant) as client:
        for topic in TOPICS:
            publish(tenant, topic, "ephemeral")
            assert client.next_event()[0] == topic
            position = publish(tenant, topic, "durable", durable=True, idempotency_id="1")
            frame = client.next("event")
            assert (frame["topic"], frame["position"]) == (topic, position)
            assert publish(tenant, topic, "durable", durable=True, idempotency_id="1") == position


def test_a_batch_is_spread_over_the_servers_and_comes_back_in_order(
    cluster: RedisCluster, cluster_node: Node, publisher: Callable[..., AnyPublisher], tenant: str
) -> None:
    events = [
        Event(tenant, TOPICS[number % len(TOPICS)], "counted", number, durable=number % 2 == 0) for number in range(60)
    ]
    events[7] = Event(tenant, "channel:", "counted", 7)
    with cluster_node.client(*TOPICS, tenant=tenant) as client:
        results = publisher(cluster.url, batch_size=25).publish_many(events)
        assert [number for number, result in enumerate(results) if not result.ok] == [7]
        assert isinstance(results[7].error, InvalidValue)
        assert [result.position is not None for result in results] == [number % 2 == 0 for number in range(60)]
        received: dict[str, list[int]] = {topic: [] for topic in TOPICS}
        for _ in range(59):
            topic, event = client.next_event()
            received[topic].append(event["data"])
        for topic, numbers in received.items():
            assert numbers == sorted(numbers), topic


def test_a_client_of_redis_py_serves_as_well(
    kind: str, cluster: RedisCluster, cluster_node: Node, publisher: Callable[..., AnyPublisher], tenant: str
) -> None:
    port = cluster.servers[0].port
    made: Any = redis.RedisCluster if kind == "sync" else redis.asyncio.RedisCluster
    publish = publisher(lambda: made(host="127.0.0.1", port=port))
    with cluster_node.client(TOPICS[0], tenant=tenant) as client:
        publish.publish(tenant, TOPICS[0], "hello")
        assert client.next_event()[1]["type"] == "hello"


def test_requests_of_tenants_on_different_servers_are_answered(
    cluster: RedisCluster, cluster_node: Node, worker: Callable[..., AnyWorker], kind: str
) -> None:
    tenants = [f"{kind}-{number}" for number in range(4)]
    with redis.RedisCluster(host="127.0.0.1", port=cluster.servers[0].port, decode_responses=True) as client:
        made = worker(cluster.url, tenants[:3]).method("who", lambda request: request.tenant).start()
        made.worker.add_tenant(tenants[3])
        for tenant in tenants:
            answered = ask(client, tenant)
            assert answered["data"] == tenant
            stream = f"fanfare:{tenant}:requests"
            until("it is acknowledged", partial(is_acknowledged, client, stream))


def is_acknowledged(client: Any, stream: str) -> bool:
    return bool(client.xpending(stream, "backend")["pending"] == 0)


def ask(client: Any, tenant: str) -> Any:
    """As a node does: it hears answers by sharded pub/sub."""
    stream, replies = f"fanfare:{tenant}:requests", f"fanfare:{tenant}:replies:asker"
    listener = client.pubsub()
    listener.ssubscribe(replies)
    deadline_ms = str(int((time.time() + PATIENCE_S) * 1000))
    fields = {"request": "r-1", "method": "who", "data": "null", "user": "42", "connection": "c-1"}
    until("subscribed", lambda: listener.get_sharded_message(timeout=0.1))
    client.xadd(stream, {**fields, "reply_to": replies, "deadline_ms": deadline_ms})
    message = until("answered", lambda: listener.get_sharded_message(timeout=0.1))
    listener.close()
    return json.loads(message["data"])


def test_a_whole_cluster_may_go_away_and_come_back(
    tmp_path: Path, publisher: Callable[..., AnyPublisher], worker: Callable[..., AnyWorker]
) -> None:
    cluster = RedisCluster(tmp_path)
    node = Node(tmp_path / "node", cluster.url)
    try:
        made = publisher(cluster.url)
        worker(cluster.url, "acme").method("who", lambda request: request.tenant).start()
        until("published", lambda: is_published(made))
        # A group that is made later begins with what comes then.
        with redis.RedisCluster(host="127.0.0.1", port=cluster.servers[0].port, decode_responses=True) as client:
            until("the worker has its group", lambda: has_group(client, "fanfare:acme:requests"))
        cluster.kill()
        until("it is noticed", lambda: not is_published(made))
        for server in cluster.servers:
            assert server.try_start()
        until("the cluster works, and the node has loaded its functions", lambda: is_published(made))
        with redis.RedisCluster(host="127.0.0.1", port=cluster.servers[0].port, decode_responses=True) as client:
            assert ask(client, "acme")["data"] == "acme"
    finally:
        node.process.kill()
        cluster.kill()


def has_group(client: Any, stream: str) -> bool:
    try:
        return bool(client.xinfo_groups(stream))
    except redis.ResponseError:
        return False


def is_published(publisher: AnyPublisher) -> bool:
    results = publisher.publish_many([Event("acme", topic, "x") for topic in TOPICS])
    return all(result.ok for result in results)
