"""Workers in processes of their own: killed, frozen and stopped as an operator does."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from .backends import AnyWorker
from .requests import Asker
from .support import Process, RedisServer, until

Processes = Callable[[str], Process]


@pytest.fixture
def spawn(kind: str, server: RedisServer, tmp_path: Path) -> Iterator[Processes]:
    """Starts a worker in a process, by the name of its consumer."""
    made: list[Process] = []

    def start(consumer: str) -> Process:
        arguments = [sys.executable, "-m", "tests.worker_process", kind, server.url, consumer]
        made.append(Process(arguments, tmp_path / f"{consumer}.log"))
        made[-1].start()
        return made[-1]

    yield start
    for process in made:
        process.kill()


def begun(client: Any) -> list[str]:
    return list(client.lrange("begun", 0, -1))


def test_a_killed_workers_request_is_answered_by_another(
    server: RedisServer, spawn: Processes, asker: Asker, client: Any
) -> None:
    first = spawn("first")
    request = asker.ask("slow")
    until("it has begun", lambda: begun(client) == [request])
    first.kill()
    client.set("go", 1)
    spawn("second")
    assert asker.answer() == {"request": request, "data": "second"}
    until("it is acknowledged", lambda: asker.pending() == 0)


def test_a_frozen_workers_request_is_claimed_and_it_may_go_on(
    server: RedisServer, spawn: Processes, worker: Callable[..., AnyWorker], asker: Asker, client: Any
) -> None:
    frozen = spawn("frozen")
    request = asker.ask("slow")
    until("it has begun", lambda: begun(client) == [request])
    frozen.signal(signal.SIGSTOP)
    worker(server.url).method("slow", lambda request: request.deliveries).start()
    assert asker.answer() == {"request": request, "data": 2}
    client.set("go", 1)
    frozen.signal(signal.SIGCONT)
    assert asker.answer() == {"request": request, "data": "frozen"}, "at least once: nodes drop the second"
    until("nothing is pending", lambda: asker.pending() == 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_what_runs(number: signal.Signals, spawn: Processes, asker: Asker, client: Any) -> None:
    process = spawn("first")
    request = asker.ask("slow")
    until("it has begun", lambda: begun(client) == [request])
    process.signal(number)
    client.set("go", 1)
    assert asker.answer() == {"request": request, "data": "first"}
    assert process.wait() == 0, process.log()
    assert client.lrange("stopped", 0, -1) == ["first"]
    assert asker.consumers() == []
