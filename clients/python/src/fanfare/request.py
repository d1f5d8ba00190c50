"""A client's request as a handler sees it, and its answer as bytes. Deliberately without Redis: `stream` has the
commands."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .errors import InvalidValue
from .event import JsonDefault, encode


@dataclass(frozen=True)
class Request:
    """What a client asks. A node has checked its token, and that it may call the method."""

    #: The same when the request comes a second time, after a worker has died; so a key for what must happen once.
    id: str
    #: The tenant of who asks.
    tenant: str
    #: `dashboard.refresh`
    method: str
    #: What the client sent along, as `json.loads` gives it; None when nothing.
    data: Any
    #: The user who asks, as the token says.
    user: str
    #: The connection that asks, for `except_connection`; empty when it asks over HTTP.
    connection: str
    #: When the client stops waiting, in Unix ms.
    deadline_ms: int
    #: How many times it was given to a worker, this time included: 1 unless a worker died or stalled.
    deliveries: int
    #: W3C Trace Context of the request; None when it isn't traced.
    traceparent: str | None
    #: The Redis channel of the answer.
    reply_to: str

    @property
    def deadline(self) -> datetime:
        """When the client stops waiting, in UTC."""
        return datetime.fromtimestamp(self.deadline_ms / 1000, timezone.utc)

    @property
    def remaining(self) -> float:
        """How many seconds are left until the deadline, by this machine's clock; 0 when it has passed."""
        return max(0.0, self.deadline_ms / 1000 - time.time())

    def answer(self, data: Any, json_default: JsonDefault | None, bytes_max: int) -> bytes:
        """The answer. Raises `InvalidValue` when `data` is not JSON, or the answer has more bytes than that."""
        encoded = encode("data", {"request": self.id, "data": data}, json_default)
        if len(encoded) > bytes_max:
            raise InvalidValue("data", f"the answer has {len(encoded)} bytes, and at most {bytes_max} are allowed")
        return encoded

    def refusal(self, code: str, message: str) -> bytes:
        """The answer that is an error."""
        text = message.encode(errors="replace").decode()
        return encode("message", {"request": self.id, "error": {"code": code, "message": text}}, None)


def parse(fields: Mapping[str, str], tenant: str, replies: str, deliveries: int) -> Request:
    """Reads the fields of a stream entry. `replies` is what channels of answers begin with. Raises `InvalidValue`."""
    for name in ("request", "method", "user", "reply_to", "deadline_ms"):
        if not fields.get(name):
            raise InvalidValue(name, "is missing")
    # Whoever can write to the stream shall not choose where this worker publishes.
    if not fields["reply_to"].startswith(replies):
        raise InvalidValue("reply_to", f"must begin with {replies}")
    if not fields["deadline_ms"].isdigit():
        raise InvalidValue("deadline_ms", "must be Unix time in ms")
    try:
        data = json.loads(fields.get("data") or "null")
    except (ValueError, RecursionError) as error:
        raise InvalidValue("data", "is not JSON") from error
    return Request(
        id=fields["request"],
        tenant=tenant,
        method=fields["method"],
        data=data,
        user=fields["user"],
        connection=fields.get("connection", ""),
        deadline_ms=int(fields["deadline_ms"]),
        deliveries=deliveries,
        traceparent=fields.get("traceparent") or None,
        reply_to=fields["reply_to"],
    )
