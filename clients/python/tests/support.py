"""Redis servers, nodes and WebSocket clients for the stories: real processes, each with a port of its own, ended by
their fixture. Waits are for conditions, with a deadline that only a defect reaches."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

from websockets.sync.client import connect
from websockets.sync.connection import Connection

from fanfare import mint_token

PATIENCE_S = 30.0
SECRET = "a-secret-of-the-tests-0123456789abcdef"

_turns = itertools.count(os.getpid() * 7919)


def until(what: str, is_so: Callable[[], Any]) -> Any:
    """Waits until something is true, and returns it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < deadline, f"not in {PATIENCE_S} s: {what}"
        time.sleep(0.01)
    return found


def free_port() -> int:
    """A port that only these tests use, below those that the kernel gives to outgoing connections, given away once."""
    while True:
        port = 20_000 + next(_turns) % 4_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def binary() -> Path:
    """The node's binary; a test that needs it fails without."""
    path = os.environ.get("FANFARE_BIN", "")
    assert path and Path(path).is_file(), "set FANFARE_BIN to the path of a built `fanfare`"
    return Path(path)


class Process:
    """A child process that is started, killed, frozen and thawed."""

    def __init__(self, arguments: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self._arguments, self._log, self._environment = arguments, log, environment
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(self._arguments, stdout=log, stderr=log, env=self._environment)

    def signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def wait(self) -> int:
        assert self._child is not None
        return self._child.wait(PATIENCE_S)

    def has_ended(self) -> bool:
        return self._child is None or self._child.poll() is not None

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""


class RedisServer:
    """A `redis-server` that keeps its port when it is started again. It forgets what it had, as after a lost disk."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        assert shutil.which("redis-server"), "redis-server must be installed"
        directory.mkdir(parents=True, exist_ok=True)
        self.directory, self.arguments = directory, arguments
        for _ in range(10):
            self.port = free_port()
            if self.try_start():
                return
        raise AssertionError(f"redis-server does not start: {self.process.log()}")

    def try_start(self) -> bool:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.directory)]
        self.process = Process(["redis-server", *options, *self.arguments], self.directory / "log")
        self.process.start()
        until("redis-server answers, or has ended", lambda: self.process.has_ended() or self.cli("PING") == "PONG")
        return not self.process.has_ended()

    def cli(self, *words: str) -> str:
        command = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"


class Node:
    """A `fanfare serve` that is ready."""

    def __init__(self, directory: Path, backplane: str, **settings: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        for _ in range(10):
            self.port, self._admin_port = free_port(), free_port()
            environment = {
                "FANFARE_BACKPLANE": backplane,
                "FANFARE_LISTEN": f"127.0.0.1:{self.port}",
                "FANFARE_ADMIN_LISTEN": f"127.0.0.1:{self._admin_port}",
                "FANFARE_JWT_HS256_SECRET": SECRET,
                # On a busy machine a server that is well must not count as one that hangs.
                "FANFARE_REDIS_RESPONSE_TIMEOUT_MS": "10000",
                "FANFARE_REDIS_PING_INTERVAL_MS": "100",
                "FANFARE_REDIS_RETRY_MIN_MS": "10",
                "FANFARE_REDIS_RETRY_MAX_MS": "100",
                **settings,
            }
            self.process = Process([str(binary()), "serve"], directory / "log", environment)
            self.process.start()
            until("the node is ready, or has ended", lambda: self.process.has_ended() or self.is_ready())
            if not self.process.has_ended():
                return
        raise AssertionError(f"the node does not start: {self.process.log()}")

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError):
            url = f"http://127.0.0.1:{self._admin_port}/readyz"
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                return bool(answer.status == 200)
        return False

    @contextlib.contextmanager
    def client(
        self, *topics: str, tenant: str = "acme", user: str = "42", key: str | bytes = SECRET, **grants: Any
    ) -> Iterator[Client]:
        """A client whose token this library has minted, subscribed to these topics."""
        token = mint_token(key, tenant, user, channels=["**"], **grants)
        protocols: Any = ["fanfare.v1.json", f"fanfare.token.{token}"]
        url = f"ws://127.0.0.1:{self.port}/ws"
        # Without a bound a story may leave events unread, which would hold up the closing handshake.
        with connect(url, subprotocols=protocols, open_timeout=PATIENCE_S, max_queue=None) as socket_:
            client = Client(socket_)
            client.welcome = client.next("welcome")
            for topic in topics:
                client.send(op="subscribe", id=1, topic=topic)
                client.next("subscribed")
            yield client


class Client:
    """A WebSocket client that leaves pings to the library below and everything else to the story."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.welcome: dict[str, Any] = {}

    def send(self, **frame: Any) -> None:
        self._connection.send(json.dumps(frame))

    def next(self, *ops: str) -> dict[str, Any]:
        """The next frame, which must have one of these `op`s."""
        frame: dict[str, Any] = json.loads(self._connection.recv(timeout=PATIENCE_S))
        assert frame["op"] in ops, frame
        return frame

    def next_event(self) -> tuple[str, dict[str, Any]]:
        frame = self.next("event")
        return frame["topic"], frame["event"]


class RedisCluster:
    """Three primaries."""

    def __init__(self, directory: Path) -> None:
        own = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        self.servers: list[RedisServer] = []
        try:
            for number in range(3):
                bus = ("--cluster-port", str(free_port()))
                self.servers.append(RedisServer(directory / str(number), *own, *bus))
            self._form()
        except BaseException:
            self.kill()
            raise

    def _form(self) -> None:
        # `redis-cli --cluster create` knows no other bus ports than the usual ones, so its steps are taken here.
        for number, server in enumerate(self.servers):
            server.cli("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
            bounds = [16_384 * share // 3 for share in (number, number + 1)]
            assert server.cli("CLUSTER", "ADDSLOTSRANGE", str(bounds[0]), str(bounds[1] - 1)) == "OK"
            bus = server.arguments[-1]
            assert self.servers[0].cli("CLUSTER", "MEET", "127.0.0.1", str(server.port), bus) == "OK"
        until("the cluster works", lambda: all(self._knows_all(server) for server in self.servers))

    @staticmethod
    def _knows_all(server: RedisServer) -> bool:
        info = server.cli("CLUSTER", "INFO")
        return "cluster_state:ok" in info and "cluster_known_nodes:3" in info

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    def kill(self) -> None:
        for server in self.servers:
            server.process.kill()
