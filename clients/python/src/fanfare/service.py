"""What a worker does, step by step: which command follows which answer, when to wait, what to do about a failure.
Deliberately without I/O, threads and tasks: the steps are generators, which `worker` and `async_worker` carry out."""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket
import threading
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Literal, NamedTuple, Union

from .commands import send
from .connection import Command
from .errors import REDIS_ERRORS, InvalidValue, RequestError
from .event import EVENT_BYTES_MAX, JsonDefault
from .keyspace import PREFIX, Keyspace
from .request import Request, parse
from .stream import Entry, Group, claimed_entries, deliveries, read_entries
from .topics import check_tenant

log = logging.getLogger("fanfare")

Handler = Callable[[Request], Any]

#: How long a read waits for the first request, in ms; so long, at most, takes it until a worker notices that it shall
#: stop.
BLOCK_MS = 1000
#: How many stalled requests of a tenant are claimed at once, at most.
CLAIM_COUNT_MAX = 16
#: The pauses between attempts while Redis is away: a random time up to the first, then up to twice as much, up to the
#: last.
PAUSE_FIRST_S, PAUSE_MAX_S = 0.1, 5.0


class Job(NamedTuple):
    """A request that this worker has taken."""

    stream: str
    entry_id: str
    request: Request


class Call(NamedTuple):
    """Step: send the command. Gives the answer, or throws one of `errors.REDIS_ERRORS`."""

    command: Command


class Pause(NamedTuple):
    """Step: wait for so long, or until the worker stops; with `to_the_end`, until it has ended."""

    seconds: float
    to_the_end: bool = False


class Room(NamedTuple):
    """Step: wait until a handler is free, or the worker stops."""


class Begin(NamedTuple):
    """Step: wait until a handler is free, and let `serve(job)` run beside what follows."""

    job: Job


class Invoke(NamedTuple):
    """Step: call the handler. Gives its answer, made with `Service.answer` or `Service.failure`."""

    handler: Handler
    request: Request


Step = Union[Call, Pause, Room, Begin, Invoke]
Steps = Generator[Step, Any, None]


@dataclass(frozen=True)
class Settings:
    """What a worker is made with; `Worker` explains it."""

    group: str = "backend"
    prefix: str = PREFIX
    consumer: str | None = None
    concurrency: int = 8
    start: Literal["$", "0"] = "$"
    claim_idle_ms: int = 5000
    deliveries_max: int = 3
    unknown_methods: Literal["refuse", "ignore"] = "refuse"
    answer_bytes_max: int = EVENT_BYTES_MAX
    stop_timeout_s: float = 25.0
    json_default: JsonDefault | None = None

    def __post_init__(self) -> None:
        for field in ("concurrency", "claim_idle_ms", "deliveries_max", "answer_bytes_max"):
            if getattr(self, field) < 1:
                raise InvalidValue(field, f"must be at least 1, and is {getattr(self, field)}")
        choices = {"start": ("$", "0"), "unknown_methods": ("refuse", "ignore")}
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise InvalidValue(field, f"must be one of {allowed}, and is {getattr(self, field)!r}")
        if not self.group:
            raise InvalidValue("group", "must not be empty")


class Service:
    """The state of a worker, and its steps. Its methods may be called from many threads."""

    def __init__(self, tenants: str | Iterable[str], settings: Settings) -> None:
        self.settings = settings
        self._keyspace = Keyspace(settings.prefix)
        self._handlers: dict[str, Handler] = {}
        self._group = Group(settings.group, settings.consumer or _consumer_name())
        self._lock = threading.Lock()
        # By stream: all tenants that there ever were, and whose requests are taken.
        self._names: dict[str, str] = {}
        self._tenants: dict[str, str] = {}
        # Where a group begins that isn't there.
        self._starts: dict[str, str] = {}
        self._held: dict[tuple[str, str], Job] = {}
        #: No more requests are taken.
        self.is_stopping = False
        #: Nobody waits for handlers any more.
        self.is_ended = False
        for tenant in [tenants] if isinstance(tenants, str) else tenants:
            self.add_tenant(tenant)

    def add_tenant(self, tenant: str) -> bool:
        """False when it was there already. Raises `InvalidValue`."""
        stream = self._keyspace.requests(check_tenant(tenant))
        with self._lock:
            is_new = stream not in self._tenants
            self._names[stream] = self._tenants[stream] = tenant
        return is_new

    def remove_tenant(self, tenant: str) -> None:
        """Takes no more requests of the tenant."""
        with self._lock:
            self._tenants.pop(self._keyspace.requests(tenant), None)

    def tenants(self) -> list[str]:
        """Whose requests are taken."""
        with self._lock:
            return list(self._tenants.values())

    def register(self, method: str, handler: Handler) -> None:
        """Gives a method its handler. Raises `InvalidValue`."""
        if not isinstance(method, str) or not method:
            raise InvalidValue("method", f"must be a name such as dashboard.refresh, and is {method!r}")
        if method in self._handlers:
            raise InvalidValue("method", f"{method!r} has a handler already")
        self._handlers[method] = handler

    def held(self) -> int:
        """How many requests this worker has taken and not finished."""
        with self._lock:
            return len(self._held)

    def drop(self, job: Job) -> None:
        """The worker does no more about the request. It stays pending, for others to claim, unless it was
        acknowledged."""
        with self._lock:
            self._held.pop((job.stream, job.entry_id), None)

    def answer(self, request: Request, data: Any) -> bytes:
        """What a handler returned, as the answer. Raises `InvalidValue`."""
        return request.answer(data, self.settings.json_default, self.settings.answer_bytes_max)

    def failure(self, request: Request, error: Exception) -> bytes:
        """What a handler raised, as the answer. What it didn't mean for the client is only logged."""
        if isinstance(error, RequestError):
            return request.refusal(error.code, error.message)
        log.error("the handler of %s failed, request %s", request.method, request.id, exc_info=error)
        return request.refusal("internal", "the backend failed")

    def read(self, block_ms: int, tenant: str | None = None) -> Steps:
        """Takes new requests of one tenant, or of all, until the worker stops or has the tenant no more."""
        outage = _Outage("take requests")
        joined: set[str] = set()
        while not self.is_stopping:
            streams = self._streams(tenant)
            if not streams:
                if tenant is not None:
                    return
                yield Pause(block_ms / 1000)
                continue
            try:
                for stream in streams:
                    if stream not in joined:
                        yield from self._join(stream)
                        joined.add(stream)
                yield Room()
                if self.is_stopping:
                    return
                count = max(1, self._free() // len(streams))
                answer = yield Call(self._group.read(streams, count, block_ms))
            except REDIS_ERRORS as error:
                if "NOGROUP" in str(error):
                    joined.clear()
                yield Pause(outage.failed(error))
                continue
            outage.over()
            yield from self._take(read_entries(answer), {})

    def claim(self) -> Steps:
        """Takes over requests of workers that have died or stalled, until this one stops."""
        outage = _Outage("claim stalled requests")
        cursors: dict[str, str] = {}
        while not self.is_stopping:
            yield Pause(self.settings.claim_idle_ms / 1000 * random.uniform(0.5, 1))  # noqa: S311 - no secret
            try:
                for stream in self._streams(None):
                    free = min(self._free(), CLAIM_COUNT_MAX)
                    if free < 1 or self.is_stopping:
                        break
                    cursor = cursors.get(stream, "0-0")
                    answer = yield Call(self._group.claim(stream, self.settings.claim_idle_ms, cursor, free))
                    cursors[stream], entries = claimed_entries(stream, answer)
                    counts: dict[str, int] = {}
                    for entry in entries:
                        counts[entry.id] = deliveries((yield Call(self._group.pending(stream, entry.id))))
                    yield from self._take(entries, counts)
            except REDIS_ERRORS as error:
                # Without the group there is nothing to claim, and `read` creates it.
                if "NOGROUP" not in str(error):
                    outage.failed(error)
                continue
            outage.over()

    def keep_alive(self) -> Steps:
        """Tells the group that this worker lives and works on what it has taken, until it has ended."""
        outage = _Outage("keep requests from being claimed")
        while not self.is_ended:
            # Well below the time after which others claim.
            yield Pause(self.settings.claim_idle_ms / 1000 * random.uniform(0.25, 0.4), to_the_end=True)  # noqa: S311
            held: dict[str, list[str]] = defaultdict(list)
            with self._lock:
                for stream, entry_id in self._held:
                    held[stream].append(entry_id)
            try:
                for stream, ids in held.items():
                    yield Call(self._group.keep(stream, ids))
            except REDIS_ERRORS as error:
                outage.failed(error)
                continue
            outage.over()

    def serve(self, job: Job, is_cluster: bool) -> Steps:
        """Answers one request and acknowledges it."""
        request = job.request
        handler = self._handlers.get(request.method)
        if request.remaining <= 0:
            # It has waited for a handler for too long.
            log.warning("request %s of %s is skipped: its deadline has passed", request.id, request.method)
            answer = None
        elif request.deliveries > self.settings.deliveries_max:
            log.error(
                "request %s of %s is given up: %d workers had it", request.id, request.method, request.deliveries - 1
            )
            answer = request.refusal("internal", "the backend failed")
        elif handler is None:
            answer = request.refusal("no_backend", f"no backend answers {request.method!r}")
        else:
            answer = yield Invoke(handler, request)
        reply = None if answer is None else send(request.reply_to, answer, is_cluster)
        yield from self._finish(job, reply)

    def leave(self) -> Steps:
        """Takes this consumer out of its groups, wherever nothing of it is pending."""
        for stream in list(self._starts):
            try:
                if not (yield Call(self._group.own_pending(stream))):
                    yield Call(self._group.leave(stream))
            except REDIS_ERRORS as error:
                # Nobody waits for this, so it isn't tried for one tenant after the other.
                log.debug("the consumer %s stays in its groups: %s", self._group.consumer, error)
                return

    def _finish(self, job: Job, reply: Command | None) -> Steps:
        """Answers, then acknowledges. While Redis is away it tries again, as long as the client waits."""
        outage = _Outage(f"answer request {job.request.id}")
        while True:
            try:
                if reply is not None:
                    yield Call(reply)
                    reply = None
                yield Call(self._group.acknowledge(job.stream, [job.entry_id]))
            except REDIS_ERRORS as error:
                pause_s = outage.failed(error)
                if job.request.remaining <= 0 or self.is_ended:
                    # It stays pending, and whoever claims it sees that its deadline has passed.
                    return
                yield Pause(min(pause_s, job.request.remaining), to_the_end=True)
            else:
                return

    def _take(self, entries: Sequence[Entry], counts: Mapping[str, int]) -> Steps:
        """Begins with the entries that are worth it, and acknowledges the others."""
        jobs: list[Job] = []
        done: dict[str, list[str]] = defaultdict(list)
        late = 0
        for entry in entries:
            try:
                job = self._job(entry, counts.get(entry.id, 1))
            except InvalidValue as invalid:
                log.warning("entry %s of %s is skipped, since it is no request: %s", entry.id, entry.stream, invalid)
                job = None
            if job is None:
                done[entry.stream].append(entry.id)
            elif job.request.remaining <= 0:
                late += 1
                done[entry.stream].append(entry.id)
            elif self._hold(job):
                jobs.append(job)
        for job in jobs:
            yield Begin(job)
        if late:
            log.warning("%d requests are skipped: their deadlines have passed, by this machine's clock", late)
        for stream, ids in done.items():
            try:
                yield Call(self._group.acknowledge(stream, ids))
            except REDIS_ERRORS as error:
                # They stay pending, are claimed, and skipped again.
                log.debug("skipped entries of %s are not acknowledged: %s", stream, error)

    def _job(self, entry: Entry, delivered: int) -> Job | None:
        """The entry as a request; None when it is for another group. Raises `InvalidValue`."""
        tenant = self._names[entry.stream]
        request = parse(entry.fields, tenant, self._keyspace.replies(tenant), delivered)
        if request.method not in self._handlers and self.settings.unknown_methods == "ignore":
            return None
        return Job(entry.stream, entry.id, request)

    def _hold(self, job: Job) -> bool:
        with self._lock:
            key = (job.stream, job.entry_id)
            is_new = key not in self._held
            self._held.setdefault(key, job)
        return is_new

    def _join(self, stream: str) -> Steps:
        # A group that has vanished was lost with its stream: what is there now came afterwards.
        start = self._starts.get(stream, self.settings.start)
        try:
            yield Call(self._group.create(stream, start))
        except REDIS_ERRORS as error:
            if "BUSYGROUP" not in str(error):
                raise
        self._starts[stream] = "0"

    def _streams(self, tenant: str | None) -> list[str]:
        with self._lock:
            return [stream for stream, name in self._tenants.items() if tenant in (None, name)]

    def _free(self) -> int:
        return self.settings.concurrency - self.held()


class _Outage:
    """Redis fails again and again, and is told of once."""

    def __init__(self, purpose: str) -> None:
        self._purpose = purpose
        self._told = ""
        self._attempt = 0

    def failed(self, error: Exception) -> float:
        """Returns how many seconds to wait before the next attempt."""
        if str(error) != self._told:
            self._told = str(error)
            log.warning("can't %s, trying again: %s", self._purpose, error)
        most_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2 ** min(self._attempt, 16))
        self._attempt += 1
        return random.uniform(0, most_s)  # noqa: S311 - no secret

    def over(self) -> None:
        if self._attempt:
            log.info("can %s again", self._purpose)
        self._told, self._attempt = "", 0


def _consumer_name() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
