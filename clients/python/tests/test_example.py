"""The worked example, `examples/backend-python`, with a node and a page."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from fanfare import channel

from .requests import Asker
from .support import Client, Node, Process, RedisServer, until

EXAMPLE = Path(__file__).parents[3] / "examples/backend-python/backend.py"


def test_the_dashboard_is_updated_and_refreshed(server: RedisServer, node: Node, asker: Asker, tmp_path: Path) -> None:
    environment = {**os.environ, "REDIS_URL": server.url, "ORDER_INTERVAL_S": "0.05"}
    backend = Process([sys.executable, str(EXAMPLE)], tmp_path / "backend.log", environment)
    with node.client(channel("dashboard"), methods=["dashboard.*"]) as page:
        backend.start()
        try:
            first, second = page.next_event()[1], page.next_event()[1]
            assert first["type"] == "dashboard.updated"
            assert [event["data"]["orders"] for event in (first, second)] == [1, 2]
            until("its group is there", lambda: asker.pending("dashboard") == 0)
            page.send(op="request", id=2, method="dashboard.refresh", data={"range": "today"})
            figures = answer(page)["data"]
            assert figures["orders"] >= 2
            assert float(figures["revenue"]) > 0
            page.send(op="request", id=3, method="dashboard.refresh", data={"range": "ever"})
            assert answer(page)["code"] == "unavailable"
            backend.signal(signal.SIGTERM)
            assert backend.wait() == 0, backend.log()
        finally:
            backend.kill()


def answer(page: Client) -> dict[str, Any]:
    """The answer to a request, among the events that go on."""
    while (frame := page.next("event", "reply", "error"))["op"] == "event":
        pass
    return frame
