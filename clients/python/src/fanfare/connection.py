"""redis-py behind two calls, once blocking and once for asyncio: one command, and many in a pipeline. Deliberately
knows nothing of what the commands mean, and repeats none: whether a publish whose connection broke was taken isn't
known."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple, Union, cast
from urllib.parse import unquote, urlsplit

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.backoff
import redis.cluster
import redis.retry
import redis.sentinel
from redis import exceptions as redis_errors

from .errors import InvalidValue

#: A server as redis-py's blocking client, or as a URL.
SyncRedis = Union[redis.Redis, redis.RedisCluster, str]
#: A server as redis-py's asyncio client, or as a URL.
AsyncRedis = Union[redis.asyncio.Redis, redis.asyncio.RedisCluster, str]

#: How long a connection that is made from a URL waits for Redis, in seconds: to connect, and for each answer.
TIMEOUT_S = 5.0

_SENTINEL_PORT = 26379
_PORT = 6379


class Command(NamedTuple):
    """A command of which the key says which server of a cluster it is for."""

    key: str
    words: tuple[str | bytes | int, ...]
    #: For redis-py's parser of the answer.
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Address(NamedTuple):
    """A URL, taken apart."""

    kind: str
    url: str
    hosts: list[tuple[str, int]]
    login: dict[str, str]
    is_tls: bool
    primary: str
    database: int


def parse_url(url: str) -> Address:
    """Takes what a node's `FANFARE_BACKPLANE` takes. Raises `InvalidValue`, which doesn't repeat the password."""
    found = re.fullmatch(r"(rediss?)\+(cluster|sentinel)://(?:([^/]*)@)?([^@/?#]+)(?:/([^/?#]*))?(?:/(\d*))?/?", url)
    if not found:
        if re.match(r"(rediss?|unix)://", url):
            _check_port(url)
            return Address("server", url, [], {}, False, "", 0)
        raise InvalidValue(
            "redis",
            "must be a client of redis-py or a URL that begins with redis://, rediss://, unix://, "
            "redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/primary",
        )
    scheme, kind, login, hosts, path, database = found.groups()
    if kind == "sentinel" and not path:
        raise InvalidValue("redis", "the URL names no primary: redis+sentinel://host:port,host:port/primary")
    if kind == "cluster" and (path not in (None, "", "0") or database):
        raise InvalidValue("redis", "a Redis Cluster has no databases: leave out what follows the hosts")
    username, _, password = (login or "").partition(":")
    parts = {"username": unquote(username), "password": unquote(password)}
    return Address(
        kind,
        url,
        [_host(host, _PORT if kind == "cluster" else _SENTINEL_PORT) for host in hosts.split(",")],
        {name: value for name, value in parts.items() if value},
        scheme == "rediss",
        path or "",
        int(database or 0),
    )


def _check_port(url: str) -> None:
    try:
        _ = urlsplit(url).port
    except ValueError:
        raise InvalidValue("redis", "the URL's port is no number from 0 to 65535: redis://host:6379") from None


def _host(text: str, port_default: int) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\[\]]+)(?::(\d{1,5}))?", text)
    if not found:
        raise InvalidValue("redis", f"{text!r} is no host: write host:port")
    return found.group(1).strip("[]"), int(found.group(2) or port_default)


class SyncConnection:
    """Commands over a blocking client; safe to use from many threads."""

    def __init__(self, client: SyncRedis) -> None:
        self._lock = threading.Lock()
        self._make: Callable[[], Any] | None = None
        if isinstance(client, str):
            address = parse_url(client)
            self.is_cluster = address.kind == "cluster"
            # Made with the first command, since a cluster's client connects at once.
            self._client: Any = None
            self._make = lambda: _make_sync(address)
        else:
            self.is_cluster = isinstance(client, redis.RedisCluster)
            self._client = client

    def call(self, command: Command) -> Any:
        """The answer. Raises `errors.REDIS_ERRORS`."""
        client = self._connected()
        try:
            return client.execute_command(*command.words, **self._options(client, command))
        except redis_errors.RedisClusterException:
            self._forget()
            raise

    def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order, of which each may be an exception. Raises `errors.REDIS_ERRORS`."""
        client = self._connected()
        try:
            pipe = client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command.words, **self._options(client, command))
            return cast("list[Any]", pipe.execute(raise_on_error=False))
        except redis_errors.RedisClusterException:
            self._forget()
            raise

    def socket_timeout_s(self) -> float | None:
        """How long the client waits for an answer; None when it waits for ever."""
        return _socket_timeout_s(self._client) if self._make is None else TIMEOUT_S

    def close(self) -> None:
        """Closes the connections, when they were made from a URL."""
        if self._make is not None and self._client is not None:
            for each in [self._client, *_sentinels(self._client)]:
                each.close()

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None and self._make is not None:
                self._client = self._make()
            return self._client

    def _forget(self) -> None:
        # A cluster's client that has lost all of its nodes finds none of them again.
        if self._make is not None:
            with self._lock:
                self._client = None

    def _options(self, client: Any, command: Command) -> dict[str, Any]:
        if not self.is_cluster:
            return command.options
        try:
            node = client.get_node_from_key(command.key)
        except redis_errors.RedisClusterException:
            node = None
        # Unless it is told, redis-py asks a server for the keys of every FCALL, and repeats what may have been done.
        return {**command.options, "target_nodes": node} if node else command.options


class AsyncConnection:
    """Commands over an asyncio client."""

    def __init__(self, client: AsyncRedis) -> None:
        self._make: Callable[[], Any] | None = None
        if isinstance(client, str):
            address = parse_url(client)
            self.is_cluster = address.kind == "cluster"
            # Made with the first command: before Python 3.10 a client belongs to the event loop in which it is made.
            self._client: Any = None
            self._make = lambda: _make_async(address)
        else:
            self.is_cluster = isinstance(client, redis.asyncio.RedisCluster)
            self._client = client

    async def call(self, command: Command) -> Any:
        """The answer. Raises `errors.REDIS_ERRORS`."""
        client = self._connected()
        try:
            return await client.execute_command(*command.words, **await self._options(client, command))
        except redis_errors.RedisClusterException:
            await self._forget()
            raise

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order, of which each may be an exception. Raises `errors.REDIS_ERRORS`."""
        client = self._connected()
        try:
            pipe = client.pipeline(transaction=False)
            for command in commands:
                pipe.execute_command(*command.words, **await self._options(client, command))
            return cast("list[Any]", await pipe.execute(raise_on_error=False))
        except redis_errors.RedisClusterException:
            await self._forget()
            raise

    def socket_timeout_s(self) -> float | None:
        """How long the client waits for an answer; None when it waits for ever."""
        return _socket_timeout_s(self._client) if self._make is None else TIMEOUT_S

    async def close(self) -> None:
        """Closes the connections, when they were made from a URL."""
        if self._make is not None and self._client is not None:
            for each in [self._client, *_sentinels(self._client)]:
                await each.aclose()

    def _connected(self) -> Any:
        if self._client is None and self._make is not None:
            self._client = self._make()
        return self._client

    async def _forget(self) -> None:
        # As for the blocking client.
        if self._make is not None and self._client is not None:
            lost, self._client = self._client, None
            await lost.aclose()

    async def _options(self, client: Any, command: Command) -> dict[str, Any]:
        if not self.is_cluster:
            return command.options
        await client.initialize()
        try:
            node = client.get_node_from_key(command.key)
        except redis_errors.RedisClusterException:
            node = None
        return {**command.options, "target_nodes": node} if node else command.options


def _socket_timeout_s(client: Any) -> float | None:
    pool = getattr(client, "connection_pool", None) or getattr(client, "nodes_manager", None)
    options = getattr(pool, "connection_kwargs", None) or getattr(client, "connection_kwargs", None) or {}
    timeout = options.get("socket_timeout")
    return float(timeout) if isinstance(timeout, (int, float)) else None


def _make_sync(address: Address) -> Any:
    return _make(address, redis, redis.cluster, redis.sentinel, redis.retry)


def _make_async(address: Address) -> Any:
    return _make(address, redis.asyncio, redis.asyncio.cluster, redis.asyncio.sentinel, redis.asyncio.retry)


def _make(address: Address, server: Any, cluster: Any, sentinel: Any, retry: Any) -> Any:
    """A client from the modules of redis-py's one kind of I/O or the other."""
    never = retry.Retry(redis.backoff.NoBackoff(), 0)
    options: dict[str, Any] = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
    if address.kind == "server":
        return server.Redis.from_url(address.url, retry=never, **options)
    if address.is_tls:
        options["ssl"] = True
    if address.kind == "cluster":
        nodes = [cluster.ClusterNode(host, port) for host, port in address.hosts]
        return cluster.RedisCluster(
            startup_nodes=nodes, **_cluster_retries(never, is_async=server is redis.asyncio), **options, **address.login
        )
    options["retry"] = never
    # User and password are the server's; the Sentinels get neither.
    sentinels = sentinel.Sentinel(address.hosts, sentinel_kwargs=options, **options, **address.login)
    return sentinels.master_for(address.primary, db=address.database)


def _sentinels(client: Any) -> list[Any]:
    """The connections by which a client asks Sentinels, which it doesn't close itself."""
    pool = getattr(client, "connection_pool", None)
    return list(getattr(getattr(pool, "sentinel_manager", None), "sentinels", ()))


def _cluster_retries(never: Any, *, is_async: bool) -> dict[str, Any]:
    if int(redis.__version__.split(".")[0]) >= 6:  # noqa: PLR2004
        return {"retry": never}
    # redis-py 5 counts repetitions, but for a pipeline with asyncio all attempts, the first included.
    return {"cluster_error_retry_attempts": 1 if is_async else 0}
