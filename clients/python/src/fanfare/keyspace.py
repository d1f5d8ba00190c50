"""How Redis calls what this library writes and reads. Deliberately only names; who uses them is elsewhere."""

from __future__ import annotations

import re

from .errors import InvalidValue

#: What every key and channel begins with, unless configured.
PREFIX = "fanfare"


class Keyspace:
    """The names under one prefix: 1 to 64 of `A-Z a-z 0-9 _ - . : /`, the same as the nodes' setting `redis_prefix`."""

    def __init__(self, prefix: str = PREFIX) -> None:
        if not isinstance(prefix, str) or not re.fullmatch(r"[A-Za-z0-9_\-.:/]{1,64}", prefix):
            raise InvalidValue("prefix", f"must have 1 to 64 of A-Z, a-z, 0-9 and _ - . : /, and is {prefix!r}")
        if prefix.endswith(":"):
            raise InvalidValue("prefix", "ends with the `:` that is added anyway: leave it out")
        self._prefix = prefix

    def topic(self, tenant: str, topic: str) -> str:
        """The channel of a topic, and the key of its stream."""
        return f"{self._prefix}:{tenant}:{topic}"

    @staticmethod
    def head(topic_key: str) -> str:
        """The key that holds a topic's epoch; in the topic's cluster slot, as all of them."""
        return f"{{{topic_key}}}:head"

    @staticmethod
    def idempotency(topic_key: str, idempotency_id: str) -> str:
        """The key that remembers the position of an event with this id."""
        return f"{{{topic_key}}}:id:{idempotency_id}"

    def requests(self, tenant: str) -> str:
        """The stream of the tenant's requests."""
        return f"{self._prefix}:{tenant}:requests"

    def replies(self, tenant: str) -> str:
        """What the channels of answers to the tenant's requests begin with."""
        return f"{self._prefix}:{tenant}:replies:"
