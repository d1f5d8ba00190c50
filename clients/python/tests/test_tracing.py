"""With OpenTelemetry's SDK: the trace goes from the publisher to the event, and from the request to its handler."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Callable

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from fanfare import Event, Request
from fanfare.commands import Publishing

from .backends import AnyWorker
from .requests import TRACEPARENT, Asker
from .support import RedisServer, until


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    # OpenTelemetry takes a provider once for each process.
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def envelope(publishing: Publishing, **fields: Any) -> Any:
    payload = publishing.command(Event("acme", "tenant", "x", **fields), False).words[2]
    assert isinstance(payload, bytes)
    return json.loads(payload)


def test_an_event_carries_the_active_span(exporter: InMemorySpanExporter) -> None:
    assert "traceparent" not in envelope(Publishing())
    with trace.get_tracer("tests").start_as_current_span("order") as span:
        context = span.get_span_context()
        active = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        assert envelope(Publishing())["traceparent"] == active
        assert "traceparent" not in envelope(Publishing(trace=False))
        assert envelope(Publishing(), traceparent=TRACEPARENT)["traceparent"] == TRACEPARENT


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
        "from fanfare import tracing\n"
        "from fanfare.request import Request\n"
        "assert not tracing.IS_INSTALLED and tracing.current() == {}\n"
        "request = Request('r', 'acme', 'm', None, '42', 'c', 0, 1, 'x', 'r')\n"
        "with tracing.request_span(request): print('ran')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("ran\n", "")
