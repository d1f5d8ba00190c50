"""An event and its envelope: checked and made into bytes. Deliberately without Redis; `commands` says where it goes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable

from .errors import InvalidValue
from .topics import check_tenant, check_topic, utf8_length

#: The longest `type`, in bytes of UTF-8.
TYPE_BYTES_MAX = 200
#: The deepest nesting of an envelope; its own object is the first level.
DEPTH_MAX = 64
#: The longest idempotency id, in bytes of UTF-8.
IDEMPOTENCY_ID_BYTES_MAX = 128
#: The shortest life of a history, in milliseconds.
TTL_MS_MIN = 60_000
#: What nodes take unless configured otherwise (their setting `event_bytes_max`).
EVENT_BYTES_MAX = 65_536

# The largest integer that JavaScript holds exactly, and the largest number of the options (15 digits).
_UNIX_MS_MAX = (1 << 53) - 1
_OPTION_MAX = 999_999_999_999_999

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')

#: Makes something that JSON can hold of a value that it can't, or raises `TypeError`: `default` of `json.dumps`.
JsonDefault = Callable[[Any], Any]


@dataclass(frozen=True)
class Event:
    """One event, for `publish_many`. The fields are the arguments of `publish`; nothing is checked before it is
    sent."""

    #: The tenant: 1 to 64 of `A-Z a-z 0-9 _ -`.
    tenant: str
    #: `TENANT`, `user("42")` or `channel("orders")`.
    topic: str
    #: What happened, 1 to 200 bytes: `order.updated`.
    type: str
    #: Anything that `json.dumps` takes.
    data: Any = None
    #: Your id of the event, for its readers.
    id: str | None = None
    #: When it happened: Unix ms, or a `datetime` with a time zone.
    at: int | datetime | None = None
    #: For clients that can't keep up: a newer event with the same topic and key replaces one that still waits.
    key: str | None = None
    #: The connection that is left out, as its `welcome` named it.
    except_connection: str | None = None
    #: W3C Trace Context; that of the span in which OpenTelemetry sees the event published, when both are left out.
    traceparent: str | None = None
    #: See `traceparent`.
    tracestate: str | None = None
    #: Whether it is kept, so that clients who are away get it when they come back.
    durable: bool = False
    #: Durable only: how many events the topic keeps, at least; 1,000 when left out.
    maxlen: int | None = None
    #: Durable only: how long the history outlives this event, at least, in ms; 60,000 or more, a day when left out.
    ttl_ms: int | None = None
    #: Durable only, 1 to 128 bytes: within 5 minutes an event with the same id is not published again.
    idempotency_id: str | None = None


def check(event: Event) -> None:
    """Raises `InvalidValue` for what `envelope` doesn't look at: the addressee and the options."""
    check_tenant(event.tenant)
    check_topic(event.topic)
    options = {"maxlen": event.maxlen, "ttl_ms": event.ttl_ms, "idempotency_id": event.idempotency_id}
    if not event.durable:
        for field, value in options.items():
            if value is not None:
                raise InvalidValue(field, "is for durable events only: add durable=True, or leave it out")
        return
    if event.maxlen is not None:
        _check_number("maxlen", event.maxlen, 1, "events")
    if event.ttl_ms is not None:
        _check_number("ttl_ms", event.ttl_ms, TTL_MS_MIN, "milliseconds")
    if event.idempotency_id is not None:
        length = utf8_length(_check_text("idempotency_id", event.idempotency_id))
        if not length or length > IDEMPOTENCY_ID_BYTES_MAX:
            raise InvalidValue("idempotency_id", f"must have 1 to {IDEMPOTENCY_ID_BYTES_MAX} bytes, and has {length}")


def envelope(
    event: Event,
    *,
    at: int | None = None,
    trace: Mapping[str, str] | None = None,
    json_default: JsonDefault | None = None,
    bytes_max: int = EVENT_BYTES_MAX,
) -> bytes:
    """The envelope of an event in JSON. `at` and `trace` are for an event that has none of its own.

    Raises `InvalidValue` when no node would deliver it.
    """
    length = utf8_length(_check_text("type", event.type))
    if not length or length > TYPE_BYTES_MAX:
        raise InvalidValue("type", f"must have 1 to {TYPE_BYTES_MAX} bytes of UTF-8, and has {length}")
    fields: dict[str, Any] = {"type": event.type}
    if event.data is not None:
        fields["data"] = event.data
    own_trace = {"traceparent": event.traceparent, "tracestate": event.tracestate}
    texts = {"id": event.id, "key": event.key, "except": event.except_connection}
    if event.traceparent is not None or event.tracestate is not None or trace is None:
        texts.update(own_trace)
    else:
        texts.update(trace)
    for name, text in texts.items():
        if text is not None:
            fields[name] = _check_text("except_connection" if name == "except" else name, text)
    moment = at if event.at is None else _unix_ms(event.at)
    if moment is not None:
        fields["at"] = moment
    encoded = encode("data", fields, json_default)
    if len(encoded) > bytes_max:
        raise InvalidValue(
            "data",
            f"the event has {len(encoded)} bytes, and at most {bytes_max} are allowed (event_bytes_max, here and at "
            "the nodes): keep the data elsewhere and publish a reference",
        )
    return encoded


def encode(field: str, value: Any, json_default: JsonDefault | None) -> bytes:
    """JSON as nodes take it: UTF-8, no NaN, at most 64 levels. Raises `InvalidValue` that names `field`."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=json_default)
        encoded = text.encode()
    except RecursionError:
        raise InvalidValue(field, f"is nested deeper than {DEPTH_MAX} levels") from None
    except UnicodeEncodeError:
        raise InvalidValue(field, "a text has half a surrogate pair, which is no UTF-8") from None
    except (TypeError, ValueError) as error:
        raise InvalidValue(field, f"is not JSON: {error}") from error
    if _is_deeper_than(DEPTH_MAX, encoded):
        raise InvalidValue(field, f"is nested deeper than {DEPTH_MAX} levels, the event's own object included")
    return encoded


def _is_deeper_than(levels: int, encoded: bytes) -> bool:
    # Counting is so much faster than looking that almost no event is looked at.
    if encoded.count(b"{") + encoded.count(b"[") <= levels:
        return False
    depth = 0
    for byte in _STRINGS.sub(b"", encoded):
        if byte in b"{[":
            depth += 1
            if depth > levels:
                return True
        elif byte in b"}]":
            depth -= 1
    return False


def _unix_ms(at: int | datetime) -> int:
    if isinstance(at, datetime):
        if at.tzinfo is None:
            raise InvalidValue("at", "a datetime must have a time zone: datetime.now(timezone.utc)")
        at = int(at.timestamp() * 1000)
    if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at <= _UNIX_MS_MAX:
        raise InvalidValue("at", f"must be Unix time in whole milliseconds or a datetime, and is {at!r}")
    return at


def _check_text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValue(field, f"must be a str, and is {type(value).__name__}")
    return value


def _check_number(field: str, value: object, least: int, unit: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _OPTION_MAX:
        raise InvalidValue(field, f"must be a whole number of {unit}, at least {least}, and is {value!r}")
