from __future__ import annotations

import logging
import threading
from datetime import datetime, timezone
from functools import partial
from typing import Any, Callable

import pytest

from fanfare import AsyncWorker, InvalidValue, Request, RequestError, Worker

from .backends import AnyWorker
from .requests import TRACEPARENT, Asker
from .support import PATIENCE_S, RedisServer, until

Workers = Callable[..., AnyWorker]


def test_a_handler_is_told_everything_and_answers(server: RedisServer, worker: Workers, asker: Asker) -> None:
    heard: list[Request] = []

    def refresh(request: Request) -> Any:
        heard.append(request)
        return {"sum": sum(request.data["figures"]), "text": "né"}

    worker(server.url).method("dashboard.refresh", refresh).start()
    request = asker.ask("dashboard.refresh", {"figures": [1, 2]}, traceparent=TRACEPARENT)
    assert asker.answer() == {"request": request, "data": {"sum": 3, "text": "né"}}
    (told,) = heard
    assert (told.id, told.tenant, told.method, told.user) == (request, "acme", "dashboard.refresh", "42")
    assert (told.connection, told.deliveries, told.traceparent) == ("c-1", 1, TRACEPARENT)
    assert 0 < told.remaining <= PATIENCE_S
    assert told.deadline > datetime.now(timezone.utc)
    until("it is acknowledged", lambda: asker.pending() == 0)


def test_what_a_handler_raises_is_an_error_without_details(
    server: RedisServer, worker: Workers, asker: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(request: Request) -> Any:
        raise RequestError("forbidden", "not your dashboard")

    def crash(request: Request) -> Any:
        raise KeyError("the password is hunter2")

    def odd(request: Request) -> Any:
        return object()

    made = worker(server.url).method("refuse", refuse).method("crash", crash).method("odd", odd)
    made.method("long", lambda request: "x" * 65_536).start()
    request = asker.ask("refuse")
    assert asker.answer() == {
        "request": request,
        "error": {"code": "forbidden", "message": "not your dashboard"},
    }
    for method in ("crash", "odd", "long"):
        request = asker.ask(method)
        error = {"code": "internal", "message": "the backend failed"}
        assert asker.answer() == {"request": request, "error": error}
        logged = next(record for record in caplog.records if request in record.getMessage())
        assert logged.levelno == logging.ERROR
    until("all are acknowledged", lambda: asker.pending() == 0)


def test_an_unknown_method_is_refused_or_left_to_another_group(
    server: RedisServer, worker: Workers, asker: Asker
) -> None:
    worker(server.url, group="known", unknown_methods="ignore").method("known", lambda request: "known").start()
    worker(server.url, group="other", unknown_methods="ignore").method("other", lambda request: "other").start()
    until("both groups are there", lambda: asker.pending("known") == asker.pending("other") == 0)
    for method in ("known", "other"):
        request = asker.ask(method)
        assert asker.answer() == {"request": request, "data": method}
    until("all are acknowledged", lambda: asker.pending("known") == asker.pending("other") == 0)

    worker(server.url, group="all").method("all", lambda request: None).start()
    answered = {asker.answer()["request"]: True for _ in range(2)}
    assert len(answered) == 2, "the two that were there are unknown to the new group"
    request = asker.ask("missing")
    error = {"code": "no_backend", "message": "no backend answers 'missing'"}
    assert asker.answer() == {"request": request, "error": error}


def test_requests_after_their_deadline_and_what_is_no_request_are_skipped(
    server: RedisServer, worker: Workers, asker: Asker, client: Any
) -> None:
    called: list[str] = []
    asker.ask("count", timeout_s=-1)
    asker.ask("count", reply_to="fanfare:acme:channel:orders")
    asker.ask("count", reply_to="fanfare:other:replies:asker")
    asker.ask("count", deadline_ms="soon")
    asker.ask("count", user="")
    client.xadd(asker.stream, {"request": "r", "data": "{"})
    last = asker.ask("count")
    worker(server.url).method("count", lambda request: called.append(request.id)).start()
    assert asker.answer() == {"request": last, "data": None}
    assert called == [last]
    until("all are acknowledged", lambda: asker.pending() == 0)


def test_a_new_group_begins_with_what_comes_from_now_on(server: RedisServer, worker: Workers, asker: Asker) -> None:
    asker.ask("echo", "before")
    worker(server.url, start="$").method("echo", lambda request: request.data).start()
    until("the group is there", lambda: asker.pending() == 0)
    asker.ask("echo", "after")
    assert asker.answer()["data"] == "after"


def test_no_more_than_so_many_requests_run_at_once(server: RedisServer, worker: Workers, asker: Asker) -> None:
    lock, go = threading.Lock(), threading.Event()
    running, most = 0, 0

    def hold(request: Request) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go.wait(PATIENCE_S)
        with lock:
            running -= 1

    requests = [asker.ask("hold") for _ in range(8)]
    worker(server.url, concurrency=3).method("hold", hold).start()
    until("three run", lambda: running == 3)
    assert asker.pending() == 3, "more than can be worked on are left to other workers"
    go.set()
    assert {asker.answer()["request"] for _ in requests} == set(requests)
    assert most == 3


def test_one_worker_serves_many_tenants_and_learns_of_new_ones(
    server: RedisServer, worker: Workers, client: Any
) -> None:
    askers = {tenant: Asker(client, tenant) for tenant in ("acme", "globex", "initech")}
    made = worker(server.url, ["acme", "globex"]).method("who", lambda request: request.tenant).start()
    for tenant in ("acme", "globex"):
        askers[tenant].ask("who")
        assert askers[tenant].answer()["data"] == tenant
    made.worker.add_tenant("initech")
    askers["initech"].ask("who")
    assert askers["initech"].answer()["data"] == "initech"
    made.worker.remove_tenant("acme")
    for asker in askers.values():
        asker.close()


def test_a_stop_finishes_what_runs_and_takes_no_more(
    server: RedisServer, worker: Workers, asker: Asker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    go = threading.Event()
    made = worker(server.url, concurrency=1).method("hold", lambda request: go.wait(PATIENCE_S)).start()
    first = asker.ask("hold")
    until("it runs", lambda: asker.pending() == 1)
    made.ask_to_stop()
    until("it is stopping", lambda: "the worker stops" in caplog.text)
    second = asker.ask("hold")
    go.set()
    assert asker.answer() == {"request": first, "data": True}
    until("the worker has ended", made.has_ended)
    assert asker.consumers() == [], "it has left its group"
    worker(server.url).method("hold", lambda request: "another").start()
    assert asker.answer() == {"request": second, "data": "another"}


def test_what_is_not_finished_in_time_stays_pending_and_is_claimed(
    server: RedisServer, worker: Workers, asker: Asker
) -> None:
    go = threading.Event()
    made = worker(server.url, stop_timeout_s=0.1).method("hold", lambda request: go.wait(PATIENCE_S)).start()
    request = asker.ask("hold")
    until("it runs", lambda: asker.pending() == 1)
    made.ask_to_stop()
    until("the worker has ended", made.has_ended)
    assert asker.pending() == 1
    worker(server.url).method("hold", lambda request: request.deliveries).start()
    assert asker.answer() == {"request": request, "data": 2}
    go.set()


def test_a_request_that_kills_its_workers_is_given_up(
    server: RedisServer, worker: Workers, asker: Asker, client: Any
) -> None:
    request = asker.ask("deadly")
    client.xgroup_create(asker.stream, "backend", "0")
    client.xreadgroup("backend", "dead", {asker.stream: ">"})
    for _ in range(2):
        client.xclaim(asker.stream, "backend", "dead", 0, [entry["message_id"] for entry in all_pending(client, asker)])
    worker(server.url, deliveries_max=3).method("deadly", lambda request: "alive").start()
    assert asker.answer() == {"request": request, "error": {"code": "internal", "message": "the backend failed"}}
    until("it is acknowledged", lambda: asker.pending() == 0)


def all_pending(client: Any, asker: Asker) -> Any:
    return client.xpending_range(asker.stream, "backend", "-", "+", 10)


def test_a_long_handler_keeps_its_request(server: RedisServer, worker: Workers, asker: Asker, client: Any) -> None:
    go, began = threading.Event(), []

    def hold(request: Request) -> int:
        began.append(request.deliveries)
        go.wait(PATIENCE_S)
        return request.deliveries

    for consumer in ("one", "two"):
        worker(server.url, consumer=consumer, claim_idle_ms=3000).method("hold", hold).start()
    asker.ask("hold")
    until("it runs", lambda: began)
    signs, idle_ms = 0, 0
    # Four signs of life take longer than the time after which the other one would claim it.
    while signs < 4:
        before_ms, idle_ms = idle_ms, all_pending(client, asker)[0]["time_since_delivered"]
        signs += idle_ms < before_ms
        assert idle_ms < 30_000, "the worker gives no sign of life"
    go.set()
    assert asker.answer()["data"] == 1
    assert began == [1]


def has_nothing_pending(asker: Asker) -> bool:
    return asker.pending() == 0


def test_redis_may_lose_everything_and_the_worker_goes_on(
    server: RedisServer, worker: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    import redis  # noqa: PLC0415 - a client of the new server, whose listener is new too

    made = worker(server.url, start="$").method("echo", lambda request: request.data).start()
    for data in ("before", "after"):
        with redis.Redis(port=server.port, decode_responses=True) as client:
            asker = Asker(client)
            if data == "before":
                until("the group is there", partial(has_nothing_pending, asker))
            # Afterwards the group is gone too: what is asked before the worker has made it anew is not lost.
            asker.ask("echo", data)
            assert asker.answer()["data"] == data
            asker.close()
        server.process.kill()
        until("the worker notices", lambda: "can't take requests" in caplog.text)
        assert server.try_start()
    made.stop()


def test_a_request_whose_answer_can_not_be_sent_is_answered_when_redis_is_back(
    server: RedisServer, worker: Workers, asker: Asker, client: Any
) -> None:
    go = threading.Event()
    worker(server.url).method("hold", lambda request: go.wait(PATIENCE_S)).start()
    request = asker.ask("hold")
    until("it runs", lambda: asker.pending() == 1)
    client.acl_setuser("default", enabled=True, commands=["-publish"])
    go.set()
    until("it was tried", lambda: "publish" in server.cli("ACL", "LOG"))
    assert asker.pending() == 1, "what is not answered is not acknowledged"
    client.acl_setuser("default", enabled=True, commands=["+publish"])
    assert asker.answer() == {"request": request, "data": True}
    until("it is acknowledged", lambda: asker.pending() == 0)


def test_an_async_handler_is_cancelled_at_the_deadline(server: RedisServer, asker: Asker) -> None:
    import asyncio  # noqa: PLC0415 - for this story alone

    cancelled = []

    async def story() -> None:
        worker = AsyncWorker(server.url, "acme", start="0")

        @worker.method("endless")
        async def endless(request: Request) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(request.id)
                raise

        running = asyncio.ensure_future(worker.run(signals=False))
        in_a_thread = partial(asyncio.get_running_loop().run_in_executor, None)
        # Its deadline is not to pass while the worker still connects.
        await in_a_thread(until, "the group is there", partial(has_nothing_pending, asker))
        request = asker.ask("endless", timeout_s=2)
        answer = await in_a_thread(asker.answer)
        assert answer == {"request": request, "error": {"code": "timeout", "message": "the backend was too slow"}}
        assert cancelled == [request]
        worker.stop()
        await running

    asyncio.run(story())


def test_a_worker_that_is_made_wrongly_says_so(server: RedisServer) -> None:
    for made in (Worker, AsyncWorker):
        with pytest.raises(InvalidValue, match="tenant"):
            made(server.url, ["a:b"])
        with pytest.raises(InvalidValue, match="concurrency"):
            made(server.url, "acme", concurrency=0)
        with pytest.raises(InvalidValue, match="unknown_methods"):
            made(server.url, "acme", unknown_methods="guess")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="coroutine functions"):
        AsyncWorker(server.url, "acme").method("plain")(lambda request: None)

    async def coroutine(request: Request) -> None: ...

    with pytest.raises(TypeError, match="plain functions"):
        Worker(server.url, "acme").method("coroutine")(coroutine)
    worker = Worker(server.url, "acme")
    worker.method("twice")(lambda request: None)
    with pytest.raises(InvalidValue, match="has a handler already"):
        worker.method("twice")(lambda request: None)
    with pytest.raises(InvalidValue, match="code"):
        raise RequestError("not_found", "x")  # type: ignore[arg-type]
