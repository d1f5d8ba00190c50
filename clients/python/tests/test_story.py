"""From the page to the backend and back: a client's `request` goes through a node and Redis to a worker, which answers
and tells everyone who looks on."""

from __future__ import annotations

from typing import Any, Callable

from fanfare import Request, RequestError, channel

from .backends import AnyPublisher, AnyWorker
from .support import Node, RedisServer


def test_a_dashboard_asks_for_figures_and_everyone_sees_them(
    server: RedisServer,
    node: Node,
    publisher: Callable[..., AnyPublisher],
    worker: Callable[..., AnyWorker],
) -> None:
    publish = publisher(server.url).publish

    def refresh(request: Request) -> Any:
        figures = {"by": request.user, "for": request.data["range"]}
        options = {"except_connection": request.connection, "durable": True}
        publish(request.tenant, channel("dashboard"), "dashboard.updated", figures, **options)
        return figures

    def refuse(request: Request) -> Any:
        raise RequestError("unavailable", "the figures are being counted")

    worker(server.url).method("dashboard.refresh", refresh).method("dashboard.open", refuse).start()
    methods = ["dashboard.*"]
    with (
        node.client(channel("dashboard"), user="ana", methods=methods) as ana,
        node.client(channel("dashboard"), user="ben") as ben,
    ):
        ana.send(op="request", id=4, method="dashboard.refresh", data={"range": "today"}, timeout_ms=20_000)
        assert ana.next("reply") == {"op": "reply", "id": 4, "data": {"by": "ana", "for": "today"}}
        topic, event = ben.next_event()
        assert (topic, event["type"], event["data"]) == (
            "channel:dashboard",
            "dashboard.updated",
            {"by": "ana", "for": "today"},
        )

        ana.send(op="request", id=5, method="dashboard.open")
        error = ana.next("error")
        assert (error["id"], error["code"], error["message"]) == (5, "unavailable", "the figures are being counted")

        ana.send(op="request", id=6, method="dashboard.missing")
        error = ana.next("error")
        assert (error["id"], error["code"]) == (6, "no_backend")

        ben.send(op="request", id=7, method="dashboard.refresh")
        error = ben.next("error")
        assert (error["id"], error["code"]) == (7, "forbidden")
