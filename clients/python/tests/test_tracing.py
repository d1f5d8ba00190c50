"""With OpenTelemetry's SDK: publishing is a span whose context the event carries, and a request's handler is one of the
request's trace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fanfare import TENANT, Event, InvalidValue, LibraryMissing, Request, channel, user
from fanfare.connection import AsyncConnection, SyncConnection

from .backends import AnyPublisher, AnyWorker
from .requests import TRACEPARENT, Asker
from .support import PATIENCE_S, Node, RedisServer, until


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    # OpenTelemetry takes a provider once for each process.
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


class Heard:
    """All that is published on a Redis."""

    def __init__(self, client: Any) -> None:
        self._subscriber = client.pubsub()
        self._subscriber.psubscribe("fanfare:*")
        assert self._subscriber.get_message(timeout=PATIENCE_S)["type"] == "psubscribe"

    def next(self) -> dict[str, Any]:
        envelope: dict[str, Any] = json.loads(self._subscriber.get_message(timeout=PATIENCE_S)["data"])
        return envelope


@pytest.fixture
def heard(client: Any) -> Heard:
    return Heard(client)


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Callable[[str], list[ReadableSpan]]:
    """The spans of a name that the test has made."""
    exporter.clear()
    return lambda name: [span for span in exporter.get_finished_spans() if span.name == name]


Spans = Callable[[str], list[ReadableSpan]]
Publishers = Callable[..., AnyPublisher]


def traceparent(context: Any) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def test_an_event_is_sent_in_a_span_whose_context_it_carries(
    server: RedisServer, publisher: Publishers, heard: Heard, spans: Spans
) -> None:
    with trace.get_tracer("tests").start_as_current_span("order") as order:
        publisher(server.url, stamp=False).publish("acme", channel("orders"), "order.paid", id="evt_7")
    (span,) = spans("send channel")
    event = heard.next()
    assert event == {"type": "order.paid", "id": "evt_7", "traceparent": traceparent(span.context)}
    assert (span.kind, span.parent, span.status.status_code) == (
        SpanKind.PRODUCER,
        order.get_span_context(),
        StatusCode.UNSET,
    )
    assert span.attributes == {
        "messaging.system": "fanfare",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "channel:orders",
        "messaging.destination.template": "channel",
        "messaging.message.id": "evt_7",
        "messaging.message.body.size": len(json.dumps(event, separators=(",", ":"))),
        "fanfare.tenant": "acme",
        "fanfare.event.type": "order.paid",
        "fanfare.durable": False,
    }


def test_a_node_that_traces_goes_on_from_there(
    server: RedisServer, publisher: Publishers, spans: Spans, tmp_path: Path
) -> None:
    # Nobody listens there: what the node would tell, the tests of the traces' tree ask for.
    node = Node(tmp_path / "node", server.url, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    try:
        with node.client(channel("orders")) as page:
            publisher(server.url).publish("acme", channel("orders"), "order.paid")
            frame = page.next("event")
    finally:
        node.process.kill()
    (span,) = spans("send channel")
    sent = traceparent(span.context)
    assert frame["event"]["traceparent"] == sent
    assert frame["traceparent"][:36] == sent[:36], "it is the publisher's trace"
    assert frame["traceparent"][36:52] != sent[36:52], "and the node's own span"


def test_outside_of_any_span_it_begins_a_trace(
    server: RedisServer, publisher: Publishers, heard: Heard, spans: Spans
) -> None:
    publisher(server.url).publish("acme", user("42"), "x")
    (span,) = spans("send user")
    assert span.parent is None
    assert heard.next()["traceparent"] == traceparent(span.context)


def test_a_trace_that_is_not_sampled_goes_on_as_such(
    server: RedisServer, publisher: Publishers, heard: Heard, exporter: InMemorySpanExporter
) -> None:
    exporter.clear()
    carrier = {"traceparent": TRACEPARENT[:-1] + "0", "tracestate": "a=1,b=2"}
    token = attach(TraceContextTextMapPropagator().extract(carrier))
    publisher(server.url).publish("acme", TENANT, "x")
    detach(token)
    event = heard.next()
    version, trace_id, span_id, flags = event["traceparent"].split("-")
    assert f"{version}-{trace_id}-" == TRACEPARENT[:36]
    assert (span_id == TRACEPARENT[36:52], flags, event["tracestate"]) == (False, "00", "a=1,b=2")
    assert not exporter.get_finished_spans()


def test_an_event_keeps_a_trace_of_its_own_and_has_none_where_none_is_wished(
    server: RedisServer, publisher: Publishers, heard: Heard, spans: Spans
) -> None:
    publisher(server.url).publish("acme", TENANT, "x", traceparent=TRACEPARENT)
    assert heard.next()["traceparent"] == TRACEPARENT
    (span,) = spans("send tenant")
    assert (span.kind, [traceparent(link.context) for link in span.links]) == (SpanKind.CLIENT, [TRACEPARENT])

    silent = publisher(server.url, trace=False)
    silent.publish("acme", user("42"), "x")
    silent.publish_many([Event("acme", user("42"), "x")])
    assert not any("traceparent" in heard.next() for _ in range(2))
    assert not spans("send user") + spans("create user")


@pytest.mark.parametrize(
    ("options", "error"), [({"data": object()}, InvalidValue), ({"durable": True}, LibraryMissing)]
)
def test_what_goes_wrong_is_an_error_of_the_span(
    options: Any, error: type[Exception], server: RedisServer, publisher: Publishers, spans: Spans
) -> None:
    with pytest.raises(error):
        publisher(server.url).publish("acme", TENANT, "x", **options)
    assert failure(spans("send tenant")) == error.__name__


def failure(found: list[ReadableSpan]) -> Any:
    """The `error.type` of the only span; None when nothing went wrong."""
    (span,) = found
    assert span.attributes is not None
    assert (span.status.status_code == StatusCode.ERROR) == ("error.type" in span.attributes)
    return span.attributes.get("error.type")


def test_each_event_of_a_batch_is_made_in_a_span_to_which_the_one_that_sends_them_has_a_link(
    server: RedisServer, publisher: Publishers, heard: Heard, spans: Spans
) -> None:
    events = [
        Event("acme", user("1"), "x", id="one"),
        Event("acme", user("2"), "y"),
        Event("acme", user("3"), "z", traceparent=TRACEPARENT),
    ]
    with trace.get_tracer("tests").start_as_current_span("order") as order:
        publisher(server.url).publish_many(events)
    created = spans("create user")
    published = [heard.next()["traceparent"] for _ in events]
    assert published == [*(traceparent(span.context) for span in created), TRACEPARENT]
    (sent,) = spans("send user")
    assert [span.parent for span in [*created, sent]] == [order.get_span_context()] * 3
    assert [span.kind for span in [*created, sent]] == [SpanKind.PRODUCER, SpanKind.PRODUCER, SpanKind.CLIENT]
    assert created[0].attributes is not None
    assert created[0].attributes["messaging.operation.type"] == "create"
    assert created[0].attributes["messaging.message.id"] == "one"
    assert sent.attributes == {
        "messaging.system": "fanfare",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.template": "user",
        "messaging.batch.message_count": 3,
        "fanfare.tenant": "acme",
        "fanfare.durable": False,
    }
    assert [traceparent(link.context) for link in sent.links] == published
    assert [(link.attributes or {})["messaging.destination.name"] for link in sent.links] == [
        "user:1",
        "user:2",
        "user:3",
    ]


def test_what_fails_of_a_batch_is_an_error_of_its_span_and_of_the_one_that_sent_it(
    server: RedisServer, publisher: Publishers, spans: Spans
) -> None:
    events = [
        Event("acme", TENANT, "x"),
        Event("acme", user("1"), "x", durable=True),
        Event("acme", channel("c"), "x" * 201),
    ]
    publisher(server.url).publish_many(events)
    assert failure(spans("create tenant")) is None
    assert failure(spans("create user")) == "LibraryMissing"
    assert failure(spans("create channel")) == "InvalidValue"
    assert failure(spans("send")) == "LibraryMissing"


def test_a_batch_that_is_broken_off_leaves_no_span_open(
    server: RedisServer, publisher: Publishers, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(BaseException):
        pass

    def interrupt(*_: Any) -> Any:
        assert trace.get_current_span().is_recording(), "what redis-py does is within the span"
        raise Interrupted

    for connection in (SyncConnection, AsyncConnection):
        monkeypatch.setattr(connection, "pipeline", interrupt)
    with pytest.raises(Interrupted):
        publisher(server.url).publish_many([Event("acme", TENANT, "x")])
    assert [failure(spans(name)) for name in ("create tenant", "send tenant")] == ["Interrupted", "Interrupted"]


def test_a_handler_runs_in_a_span_of_the_request(
    server: RedisServer, worker: Callable[..., AnyWorker], asker: Asker, exporter: InMemorySpanExporter
) -> None:
    exporter.clear()

    def crash(request: Request) -> Any:
        raise KeyError("x")

    worker(server.url).method("echo", lambda request: request.data).method("crash", crash).start()
    asker.ask("echo", traceparent=TRACEPARENT)
    asker.ask("crash")
    spans = {span.name: span for span in until("both", lambda: both(exporter))}
    echo = spans["fanfare echo"]
    assert echo.parent is not None
    assert f"00-{echo.parent.trace_id:032x}-{echo.parent.span_id:016x}-01" == TRACEPARENT
    assert echo.kind == SpanKind.SERVER
    assert echo.attributes is not None
    assert echo.attributes["rpc.method"] == "echo"
    assert spans["fanfare crash"].parent is None
    assert spans["fanfare crash"].status.status_code == StatusCode.ERROR


def both(exporter: InMemorySpanExporter) -> Any:
    spans = exporter.get_finished_spans()
    return spans if len(spans) == 2 else None


def test_without_opentelemetry_nothing_is_traced_and_all_works() -> None:
    program = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from fanfare import Event, tracing\n"
        "from fanfare.commands import Publishing\n"
        "from fanfare.request import Request\n"
        "assert not tracing.IS_INSTALLED\n"
        "event = Event('acme', 'tenant', 'x')\n"
        "with Publishing(stamp=False).sending(event, False) as command: print(command.words[2])\n"
        "request = Request('r', 'acme', 'm', None, '42', 'c', 0, 1, 'x', 'r')\n"
        "with tracing.request_span(request): print('ran')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ('b\'{"type":"x"}\'\nran\n', "")
