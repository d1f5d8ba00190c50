"""Requests as a node writes them to the stream, and the answers that it would get."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import redis

from .support import PATIENCE_S

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Asker:
    """Writes requests as a node of this name does, and hears their answers."""

    def __init__(self, client: Any, tenant: str = "acme", prefix: str = "fanfare") -> None:
        self._client = client
        self.stream = f"{prefix}:{tenant}:requests"
        self.replies = f"{prefix}:{tenant}:replies:asker"
        self._listener = client.pubsub()
        self._listener.subscribe(self.replies)
        assert self._listener.get_message(timeout=PATIENCE_S)["type"] == "subscribe"

    def ask(self, method: str, data: Any = None, timeout_s: float = PATIENCE_S, **changes: str) -> str:
        """Returns the request's id. `changes` replace fields of the entry; an empty one is left out."""
        fields = {
            "request": secrets.token_hex(16),
            "method": method,
            "data": json.dumps(data),
            "user": "42",
            "connection": "c-1",
            "reply_to": self.replies,
            "deadline_ms": str(int((time.time() + timeout_s) * 1000)),
            **changes,
        }
        self._client.xadd(self.stream, {name: value for name, value in fields.items() if value})
        return fields["request"]

    def answer(self) -> Any:
        """The next answer."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            message = self._listener.get_message(timeout=1)
            if message is not None:
                return json.loads(message["data"])
        raise AssertionError(f"no answer in {PATIENCE_S} s")

    def pending(self, group: str = "backend") -> int:
        try:
            return int(self._client.xpending(self.stream, group)["pending"])
        except redis.ResponseError:
            return -1

    def consumers(self, group: str = "backend") -> list[Any]:
        return list(self._client.xinfo_consumers(self.stream, group))

    def close(self) -> None:
        self._listener.close()
