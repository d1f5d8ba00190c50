from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Callable

import pytest

from fanfare import TENANT, Event, InvalidValue, LibraryMissing, Refused, Unavailable, channel, user

from .backends import AnyPublisher
from .support import Node, RedisServer

Publishers = Callable[..., AnyPublisher]


def test_an_ephemeral_event_reaches_whoever_is_subscribed(
    server: RedisServer, node: Node, publisher: Publishers
) -> None:
    publish = publisher(server.url).publish
    with node.client(channel("orders")) as client:
        assert publish("acme", channel("orders"), "order.updated", {"id": 7, "total": "19.90", "text": "né\n"}) is None
        topic, event = client.next_event()
        assert topic == "channel:orders"
        at = event.pop("at")
        assert event == {"type": "order.updated", "data": {"id": 7, "total": "19.90", "text": "né\n"}}
        assert abs(at - datetime.now(timezone.utc).timestamp() * 1000) < 60_000


def test_users_and_tenants_are_topics_too(server: RedisServer, node: Node, publisher: Publishers) -> None:
    publish = publisher(server.url).publish
    with node.client(user="42") as ana, node.client(user="43") as ben:
        publish("acme", user("42"), "export.ready")
        publish("acme", TENANT, "maintenance.announced", {"minutes": 15})
        assert ana.next_event()[0] == "user:42"
        assert ana.next_event()[0] == "tenant"
        assert ben.next_event()[0] == "tenant"


def test_every_field_of_the_envelope_arrives(server: RedisServer, node: Node, publisher: Publishers) -> None:
    publish = publisher(server.url).publish
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with node.client(channel("a")) as one, node.client(channel("a")) as other:
        publish(
            "acme",
            channel("a"),
            "moved",
            [1, None],
            id="evt_81",
            at=datetime(2026, 1, 1, tzinfo=timezone.utc),
            key="ana",
            except_connection=one.welcome["connection"],
            traceparent=trace,
        )
        publish("acme", channel("a"), "last")
        event = other.next_event()[1]
        assert event.pop("except", None) in (None, one.welcome["connection"])
        assert event == {
            "type": "moved",
            "data": [1, None],
            "id": "evt_81",
            "at": 1_767_225_600_000,
            "key": "ana",
            "traceparent": trace,
        }
        assert one.next_event()[1]["type"] == "last"


def test_a_durable_event_has_a_position_and_waits_for_who_is_away(
    server: RedisServer, node: Node, publisher: Publishers
) -> None:
    publish = publisher(server.url).publish
    first = publish("acme", channel("orders"), "order.updated", {"id": 7}, durable=True)
    second = publish("acme", channel("orders"), "order.updated", {"id": 8}, durable=True, maxlen=10, ttl_ms=60_000)
    with node.client() as client:
        client.send(op="subscribe", id=1, topic="channel:orders", since=first)
        answer = client.next("subscribed")
        assert [event["position"] for event in answer["events"]] == [second]
        assert answer["events"][0]["event"]["data"] == {"id": 8}
        third = publish("acme", channel("orders"), "order.updated", {"id": 9}, durable=True)
        assert client.next("event")["position"] == third


def test_the_same_idempotency_id_publishes_once(
    server: RedisServer, node: Node, publisher: Publishers, client: Any
) -> None:
    publish = publisher(server.url).publish
    positions = {publish("acme", channel("a"), "paid", durable=True, idempotency_id="order-7") for _ in range(3)}
    assert len(positions) == 1
    assert client.xlen("fanfare:acme:channel:a") == 1
    assert client.exists("{fanfare:acme:channel:a}:id:order-7")


def test_all_keys_of_a_durable_event_are_declared(
    server: RedisServer, node: Node, publisher: Publishers, client: Any
) -> None:
    durable = publisher(server.url).publish
    client.config_set("slowlog-log-slower-than", 0)
    durable("acme", channel("a"), "paid", durable=True, idempotency_id="7", maxlen=5)
    calls = [entry["command"].split(b" ") for entry in client.slowlog_get(50)]
    words = next(words for words in calls if words[:2] == [b"FCALL", b"fanfare_publish"])
    topic = b"fanfare:acme:channel:a"
    assert words[2:6] == [b"3", topic, b"{" + topic + b"}:head", b"{" + topic + b"}:id:7"]
    assert words[7:] == [b"maxlen", b"5", b"id", b"7"]


def test_a_batch_has_a_result_for_each_event_in_order(
    server: RedisServer, node: Node, publisher: Publishers, client: Any
) -> None:
    batch = publisher(server.url, batch_size=3)
    events = [Event("acme", channel("a"), "counted", number, durable=number % 2 == 0) for number in range(10)]
    events[4] = Event("acme", "channel:a b", "counted", 4)
    events[5] = Event("acme", channel("text"), "counted", 5, durable=True)
    client.set("fanfare:acme:channel:text", "not a stream")
    with node.client(channel("a")) as reader:
        results = batch.publish_many(iter(events))
        assert [result.ok for result in results] == [number not in (4, 5) for number in range(10)]
        assert [result.position is not None for result in results] == [number in (0, 2, 6, 8) for number in range(10)]
        assert isinstance(results[4].error, InvalidValue)
        assert results[4].error.field == "topic"
        assert isinstance(results[5].error, Refused)
        received = [reader.next_event()[1].get("data") for _ in range(8)]
        assert received == [0, 1, 2, 3, 6, 7, 8, 9]


def test_without_the_function_library_the_error_says_what_to_do(server: RedisServer, publisher: Publishers) -> None:
    publish = publisher(server.url).publish
    publish("acme", channel("a"), "heard.by.nobody")
    with pytest.raises(LibraryMissing, match=r"start a node.*fanfare functions load"):
        publish("acme", channel("a"), "paid", durable=True)
    results = publisher(server.url).publish_many([Event("acme", channel("a"), "paid", durable=True)])
    assert isinstance(results[0].error, LibraryMissing)


def test_what_redis_refuses_has_its_code(server: RedisServer, publisher: Publishers) -> None:
    server.cli("ACL", "SETUSER", "reader", "on", ">word", "resetchannels", "-@all", "+@connection")
    publish = publisher(f"redis://reader:word@127.0.0.1:{server.port}").publish
    with pytest.raises(Refused) as refused:
        publish("acme", channel("a"), "paid")
    assert refused.value.code == "NOPERM"


def test_redis_away_is_told_and_forgiven_when_it_is_back(
    server: RedisServer, node: Node, publisher: Publishers
) -> None:
    made = publisher(server.url)
    made.publish("acme", channel("a"), "before", durable=True)
    server.process.kill()
    with pytest.raises(Unavailable) as away:
        made.publish("acme", channel("a"), "lost")
    assert away.value.maybe_published
    chunks = publisher(server.url, batch_size=2).publish_many([Event("acme", channel("a"), "x")] * 5)
    unsure = [isinstance(result.error, Unavailable) and result.error.maybe_published for result in chunks]
    assert unsure == [True, True, False, False, False]
    assert server.try_start()
    made.publish("acme", channel("a"), "after")


def test_another_prefix_is_another_world(server: RedisServer, publisher: Publishers, client: Any) -> None:
    with client.pubsub() as listener:
        listener.subscribe("my.app:acme:tenant")
        assert listener.get_message(timeout=30)["type"] == "subscribe"
        publisher(server.url, prefix="my.app", stamp=False).publish("acme", TENANT, "hello")
        assert json.loads(listener.get_message(timeout=30)["data"]) == {"type": "hello"}
