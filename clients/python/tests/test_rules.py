from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from fanfare import AsyncPublisher, Event, InvalidValue, Publisher, channel, user
from fanfare.commands import Publishing
from fanfare.connection import parse_url
from fanfare.topics import check_pattern


def payload(**fields: Any) -> Any:
    """The envelope that would be published."""
    event = Event(**{"tenant": "acme", "topic": "tenant", "type": "x", **fields})
    with Publishing(stamp=False, trace=False, json_default=str).sending(event, False) as command:
        raw = command.words[2]
    assert isinstance(raw, bytes)
    return json.loads(raw)


def fault(**fields: Any) -> tuple[str, str]:
    with pytest.raises(InvalidValue) as invalid:
        payload(**fields)
    return invalid.value.field, invalid.value.rule


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("topic", ["tenant", "user:42", "channel:team:42", "channel:tenant", "user:" + "日" * 66])
def test_a_topic_has_one_of_three_kinds(topic: str) -> None:
    assert payload(topic=topic) == {"type": "x"}


@pytest.mark.parametrize(
    "topic",
    ["", "orders", "tenants", "channel", "channel:", "user:", "Tenant", "requests", "user:" + "日" * 67, "user:\ud800"]
    + [f"channel:a{character}b" for character in "\x00\n {}*?[]\x7f\x80\x9f"],
)
def test_what_is_no_topic_is_refused_by_name(topic: str) -> None:
    assert fault(topic=topic)[0] == "topic"


def test_helpers_name_what_they_were_given() -> None:
    assert (channel("orders"), user("a/b.c")) == ("channel:orders", "user:a/b.c")
    with pytest.raises(InvalidValue, match="topic: the character ' ' is not allowed"):
        channel("a b")
    with pytest.raises(InvalidValue, match="user: must be a str, and is int"):
        user(42)  # type: ignore[arg-type]


@pytest.mark.parametrize("tenant", ["", "a" * 65, "a:b", "é", "node", "nodes", "control", "revoked", "acme\n", None])
def test_what_is_no_tenant_is_refused_by_name(tenant: Any) -> None:
    assert fault(tenant=tenant)[0] == "tenant"


@pytest.mark.parametrize("tenant", ["a" * 64, "ACME_2-x", "node1"])
def test_a_tenant_is_a_short_plain_name(tenant: str) -> None:
    assert payload(tenant=tenant) == {"type": "x"}


@pytest.mark.parametrize(
    ("fields", "field", "rule"),
    [
        ({"type": ""}, "type", "1 to 200 bytes"),
        ({"type": "é" * 101}, "type", "has 202"),
        ({"type": None}, "type", "must be a str"),
        ({"id": 7}, "id", "must be a str"),
        ({"key": b"k"}, "key", "must be a str"),
        ({"except_connection": 1}, "except_connection", "must be a str"),
        ({"traceparent": 1}, "traceparent", "must be a str"),
        ({"at": True}, "at", "Unix time"),
        ({"at": 1.5}, "at", "Unix time"),
        ({"at": -1}, "at", "Unix time"),
        ({"at": datetime(2026, 1, 1)}, "at", "time zone"),
        ({"data": float("nan")}, "data", "is not JSON"),
        ({"data": {("a", "b"): 1}}, "data", "is not JSON"),
        ({"data": "\ud800"}, "data", "surrogate"),
        ({"data": nested(64)}, "data", "deeper than 64"),
        ({"data": nested(100_000)}, "data", "deeper than 64"),
        ({"data": "x" * 65_536}, "data", "at most 65536"),
        ({"maxlen": 5}, "maxlen", "durable events only"),
        ({"idempotency_id": "7"}, "idempotency_id", "durable events only"),
        ({"durable": True, "maxlen": 0}, "maxlen", "at least 1"),
        ({"durable": True, "ttl_ms": 59_999}, "ttl_ms", "at least 60000"),
        ({"durable": True, "ttl_ms": 1e6}, "ttl_ms", "whole number"),
        ({"durable": True, "idempotency_id": ""}, "idempotency_id", "1 to 128 bytes"),
        ({"durable": True, "idempotency_id": "é" * 65}, "idempotency_id", "has 130"),
    ],
)
def test_what_no_node_would_take_is_not_sent(fields: Any, field: str, rule: str) -> None:
    found_field, found_rule = fault(**fields)
    assert found_field == field
    assert rule in found_rule


def test_what_nodes_take_is_sent() -> None:
    assert payload(type="é" * 100)["type"] == "é" * 100
    assert payload(data=nested(63))["data"] == nested(63)
    # Brackets in texts are no levels.
    assert payload(data="[" * 100 + '"{' * 100)["data"] == "[" * 100 + '"{' * 100
    assert payload(data=2**64)["data"] == 2**64
    assert payload(data={"total": Decimal("1.10")})["data"] == {"total": "1.10"}
    assert payload(data=False)["data"] is False


@pytest.mark.parametrize("prefix", ["", "a:", "a b", "a{b}", "é", "a" * 65])
def test_a_prefix_that_no_node_has_is_refused(prefix: str) -> None:
    for made in (Publisher, AsyncPublisher):
        with pytest.raises(InvalidValue, match="prefix"):
            made("redis://localhost", prefix=prefix)


def test_a_url_is_what_a_node_takes() -> None:
    address = parse_url("rediss+cluster://node:p%40ss@a:7000,b,[::1]:1")
    assert (address.kind, address.is_tls) == ("cluster", True)
    assert address.hosts == [("a", 7000), ("b", 6379), ("::1", 1)]
    assert address.login == {"username": "node", "password": "p@ss"}
    address = parse_url("redis+sentinel://:word@a,b:1/main/3")
    assert (address.hosts, address.primary, address.database) == ([("a", 26379), ("b", 1)], "main", 3)
    assert parse_url("unix:///run/redis.sock").kind == "server"


@pytest.mark.parametrize(
    "url",
    [
        "http://a",
        "a:6379",
        "redis+cluster://:hunter2@a/3",
        "redis+sentinel://:hunter2@a",
        "redis+cluster://a:b",
        "redis://:hunter2@a:b",
    ],
)
def test_a_url_that_names_no_redis_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidValue) as invalid:
        parse_url(url)
    assert invalid.value.field == "redis"
    assert "hunter2" not in str(invalid.value)


@pytest.mark.parametrize("pattern", ["", "a b", "a?", "***", "x" * 257])
def test_a_pattern_that_matches_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidValue, match="channels"):
        check_pattern(pattern, "channels")
