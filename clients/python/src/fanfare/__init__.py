"""For backends of Fanfare: publish events, answer requests, mint tokens.

    from fanfare import Publisher, channel

    Publisher("redis://localhost:6379").publish("acme", channel("orders"), "order.updated", {"id": 7})

What is where: `Publisher`, `Worker` and their asyncio kin are the way in; `topics`, `event` and `request` have the
rules, `commands`, `stream` and `service` what is sent and when, without I/O.
"""

from .async_worker import AsyncWorker
from .commands import Result
from .errors import (
    FanfareError,
    InvalidValue,
    LibraryMissing,
    Refused,
    RequestError,
    Unavailable,
)
from .event import Event
from .publisher import AsyncPublisher, Publisher
from .request import Request
from .tokens import mint_token
from .topics import TENANT, channel, user
from .worker import Worker

__all__ = [
    "TENANT",
    "AsyncPublisher",
    "AsyncWorker",
    "Event",
    "FanfareError",
    "InvalidValue",
    "LibraryMissing",
    "Publisher",
    "Refused",
    "Request",
    "RequestError",
    "Result",
    "Unavailable",
    "Worker",
    "channel",
    "mint_token",
    "user",
]
