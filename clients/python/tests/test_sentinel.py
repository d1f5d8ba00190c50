"""By Redis Sentinel, which knows who the primary is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from fanfare import Unavailable, channel

from .backends import AnyPublisher, AnyWorker
from .requests import Asker
from .support import Process, RedisServer, free_port, until


@pytest.fixture
def sentinel(server: RedisServer, tmp_path: Path) -> Iterator[str]:
    """The URL by a Sentinel that watches the server under the name `main`."""
    port = free_port()
    configuration = tmp_path / "sentinel.conf"
    configuration.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {server.port} 1\n")
    process = Process(["redis-server", str(configuration), "--sentinel"], tmp_path / "sentinel.log")
    process.start()
    yield f"redis+sentinel://127.0.0.1:{port}/main"
    process.kill()


def test_the_primary_is_found_by_its_name(
    sentinel: str, publisher: Callable[..., AnyPublisher], worker: Callable[..., AnyWorker], asker: Asker, client: Any
) -> None:
    made = publisher(sentinel)
    with client.pubsub() as listener:
        listener.subscribe("fanfare:acme:channel:a")
        assert listener.get_message(timeout=30)["type"] == "subscribe"
        until("Sentinel knows the primary", lambda: is_published(made))
        assert listener.get_message(timeout=30)["type"] == "message"
    worker(sentinel).method("echo", lambda request: request.data).start()
    asker.ask("echo", "by name")
    assert asker.answer()["data"] == "by name"


def is_published(publisher: AnyPublisher) -> bool:
    try:
        publisher.publish("acme", channel("a"), "hello")
    except Unavailable:
        return False
    return True
