"""What can go wrong, one class for each thing that a caller does about it. Deliberately no error of redis-py gets
out."""

from __future__ import annotations

import re
from typing import Literal, get_args

from redis import exceptions as redis_errors

#: What redis-py raises when it can't do what it was asked. The second is no `RedisError`, although it is one.
REDIS_ERRORS = (redis_errors.RedisError, redis_errors.RedisClusterException)

_CODES = {
    redis_errors.NoPermissionError: "NOPERM",
    redis_errors.OutOfMemoryError: "OOM",
    redis_errors.ReadOnlyError: "READONLY",
}
_CODE = re.compile(r"[A-Z]{3,}(?= )")


class FanfareError(Exception):
    """Everything that this library raises."""


class InvalidValue(FanfareError, ValueError):
    """Nothing was sent: a value breaks a rule of the protocol."""

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        #: The argument that is wrong: `topic`, `type`, `data`, …
        self.field = field
        #: What it must be, and what it is.
        self.rule = rule


class Refused(FanfareError):
    """Redis answered with an error, so nothing was published."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        #: The first word of Redis's error: `NOPERM`, `OOM`, `READONLY`, or `ERR` for what has no word of its own.
        self.code = code


class LibraryMissing(Refused):
    """The function library `fanfare` is not loaded into this Redis: start a node, or run `fanfare functions load`."""


class Unavailable(FanfareError):
    """Redis could not be reached, or the connection broke before the answer."""

    def __init__(self, message: str, maybe_published: bool) -> None:
        super().__init__(message)
        #: False when nothing was sent for certain. True when nobody can tell: publish a durable event again with the
        #: same `idempotency_id`, which has no effect when the first one was taken.
        self.maybe_published = maybe_published


#: What a client can be told went wrong: the protocol's codes. A node makes `internal` of any other.
ErrorCode = Literal[
    "bad_frame",
    "unauthenticated",
    "forbidden",
    "invalid_topic",
    "too_many_subscriptions",
    "rate_limited",
    "too_large",
    "timeout",
    "no_backend",
    "unavailable",
    "internal",
]


class RequestError(FanfareError):
    """Raised by a handler: the client gets this code and this message as its answer.

    `code` is one of the protocol's, since clients get no other: `forbidden`, `rate_limited`, `unavailable`, … What your
    application has to say beyond that, such as that something isn't there, is the data of an answer. `message` is cut
    by nodes after 1,024 bytes. Both reach the client, so put no secrets in them.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        if code not in get_args(ErrorCode):
            raise InvalidValue("code", f"must be one of {', '.join(get_args(ErrorCode))}, and is {code!r}")
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def from_redis(error: Exception) -> FanfareError:
    """An error of redis-py as one of this library."""
    text = str(error)
    if isinstance(error, redis_errors.ClusterError):
        return Unavailable(f"the Redis Cluster takes no commands: {text}", maybe_published=False)
    if isinstance(error, redis_errors.ResponseError):
        if "Function not found" in text:
            return LibraryMissing(
                "this Redis has no function library `fanfare`, or an old one: start a node, which loads it, or run "
                "`fanfare functions load`",
                "ERR",
            )
        found = _CODE.match(text)
        return Refused(text, _CODES.get(type(error), found.group() if found else "ERR"))
    if isinstance(error, (redis_errors.AuthenticationError, redis_errors.BusyLoadingError)):
        return Unavailable(f"Redis takes no commands: {text}", maybe_published=False)
    return Unavailable(
        f"Redis could not be reached, or did not answer, so it is not known whether it has the event: {text}",
        maybe_published=True,
    )
