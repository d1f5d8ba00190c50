"""What an event is addressed to, and the rules of those names. Deliberately without the Redis prefix, which is
`keyspace`'s matter, and without permissions, which tokens have."""

from __future__ import annotations

import re
from functools import lru_cache

from .errors import InvalidValue

#: The topic of every connection of the tenant.
TENANT = "tenant"

#: The longest name after a topic's kind, in bytes of UTF-8.
TOPIC_NAME_BYTES_MAX = 200
#: The longest tenant, in bytes.
TENANT_BYTES_MAX = 64
#: The longest pattern of a token, in bytes.
PATTERN_BYTES_MAX = 256

_TENANTS_RESERVED = frozenset({"node", "nodes", "control", "revoked"})
_NOT_IN_TENANT = re.compile(r"[^A-Za-z0-9_-]")
# Spaces and controls, and what means something in a pattern or to a Redis Cluster.
_NOT_IN_TOPIC = re.compile("[\x00-\x20\x7f-\x9f{}*?\\[\\]]")
_KINDS = ("channel:", "user:")


def channel(name: str) -> str:
    """The topic of whoever subscribed to the channel: `channel("orders")` is `channel:orders`.

    `name` is 1 to 200 bytes of UTF-8 without spaces, control characters and `{ } * ? [ ]`. Raises `InvalidValue`.
    """
    return check_topic(f"channel:{_text('channel', name)}")


def user(user_id: str) -> str:
    """The topic of every connection of one user: `user("42")` is `user:42`. The rules are those of `channel`."""
    return check_topic(f"user:{_text('user', user_id)}")


def check_topic(topic: str, field: str = "topic") -> str:
    """Returns the topic, or raises `InvalidValue` when no node would deliver to it."""
    reason = _topic_fault(_text(field, topic))
    if reason:
        raise InvalidValue(field, reason)
    return topic


def check_tenant(tenant: str) -> str:
    """Returns the tenant, or raises `InvalidValue`."""
    reason = _tenant_fault(_text("tenant", tenant))
    if reason:
        raise InvalidValue("tenant", reason)
    return tenant


def check_user(user_id: str) -> str:
    """Returns a user's id, or raises `InvalidValue` when `user:<id>` is no topic."""
    reason = _topic_fault(f"user:{_text('user', user_id)}")
    if reason:
        raise InvalidValue("user", reason)
    return user_id


def check_pattern(pattern: str, field: str) -> str:
    """Returns a pattern of a token's permissions, or raises `InvalidValue`."""
    _text(field, pattern)
    if not pattern:
        raise InvalidValue(field, "a pattern is empty")
    length = utf8_length(pattern)
    if length is None or length > PATTERN_BYTES_MAX:
        raise InvalidValue(field, f"a pattern must have at most {PATTERN_BYTES_MAX} bytes of UTF-8")
    found = _NOT_IN_TOPIC.search(pattern.replace("*", ""))
    if found:
        raise InvalidValue(
            field, f"the character {found.group()!r} is not allowed in a pattern: only * and ** are special"
        )
    if "***" in pattern:
        raise InvalidValue(field, "more than two stars in a row mean nothing in a pattern")
    return pattern


def utf8_length(text: str) -> int | None:
    """How many bytes of UTF-8 a text has; None for half a surrogate pair, which UTF-8 can't hold."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValue(field, f"must be a str, and is {type(value).__name__}")
    return value


# Topics come again and again; tenants and topics in use by one process are few against this.
@lru_cache(maxsize=4096)
def _topic_fault(topic: str) -> str | None:
    if topic == TENANT:
        return None
    name = next((topic[len(kind) :] for kind in _KINDS if topic.startswith(kind)), None)
    if name is None:
        return f"a topic is `tenant`, `user:<id>` or `channel:<name>`, and this is {topic[:100]!r}"
    length = utf8_length(name)
    if length is None:
        return "the name after the kind has half a surrogate pair, which is no UTF-8"
    if not 1 <= length <= TOPIC_NAME_BYTES_MAX:
        return f"the name after the kind must have 1 to {TOPIC_NAME_BYTES_MAX} bytes of UTF-8, and has {length}"
    found = _NOT_IN_TOPIC.search(name)
    if found:
        return f"the character {found.group()!r} is not allowed in a topic"
    return None


@lru_cache(maxsize=4096)
def _tenant_fault(tenant: str) -> str | None:
    if not 1 <= len(tenant) <= TENANT_BYTES_MAX:
        return f"must have 1 to {TENANT_BYTES_MAX} characters, and has {len(tenant)}"
    found = _NOT_IN_TENANT.search(tenant)
    if found:
        return f"the character {found.group()!r} is not allowed: only A-Z, a-z, 0-9, _ and -"
    if tenant in _TENANTS_RESERVED:
        return f"{tenant!r} is reserved"
    return None
