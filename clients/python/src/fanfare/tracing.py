"""OpenTelemetry, where it is installed: the tracer, W3C Trace Context, and the span around a request's handler.
Deliberately not the spans of publishing, which are in `producer_spans`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

#: The envelope has one format, whatever propagators the application has chosen.
PROPAGATOR: Any = None
#: Finds the SDK whenever it is set up.
TRACER: Any = None

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    PROPAGATOR = TraceContextTextMapPropagator()
    TRACER = trace.get_tracer("fanfare")
    IS_INSTALLED = True
except ModuleNotFoundError:  # the extra `opentelemetry` was not asked for
    IS_INSTALLED = False

if TYPE_CHECKING:
    from .request import Request


def remote(traceparent: object) -> Any:
    """A context of which the active span is the one that a `traceparent` names; the empty one when it names none."""
    carrier = {"traceparent": traceparent} if isinstance(traceparent, str) else {}
    return PROPAGATOR.extract(carrier, Context())


@contextmanager
def request_span(request: Request) -> Iterator[None]:
    """A span around the handler of a request, whose parent is the request's. Does nothing without OpenTelemetry."""
    if not IS_INSTALLED:
        yield
        return
    with TRACER.start_as_current_span(
        f"fanfare {request.method}",
        context=remote(request.traceparent),
        kind=trace.SpanKind.SERVER,
        attributes={
            "rpc.system": "fanfare",
            "rpc.method": request.method,
            "fanfare.tenant": request.tenant,
            "fanfare.request": request.id,
        },
    ):
        yield
