"""W3C Trace Context from and to OpenTelemetry, where it is installed. Deliberately makes no span of its own for a
publish: whoever publishes has one, or wants none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

try:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    IS_INSTALLED = True
except ModuleNotFoundError:  # the extra `opentelemetry` was not asked for
    IS_INSTALLED = False

if TYPE_CHECKING:
    from .request import Request


def current() -> dict[str, str]:
    """`traceparent` and, if there is one, `tracestate` of the active span; empty without one."""
    fields: dict[str, str] = {}
    if IS_INSTALLED:
        TraceContextTextMapPropagator().inject(fields)
    return fields


@contextmanager
def request_span(request: Request) -> Iterator[None]:
    """A span around the handler of a request, whose parent is the request's. Does nothing without OpenTelemetry."""
    if not IS_INSTALLED:
        yield
        return
    carrier = {"traceparent": request.traceparent} if request.traceparent else {}
    with trace.get_tracer("fanfare").start_as_current_span(
        f"fanfare {request.method}",
        context=TraceContextTextMapPropagator().extract(carrier),
        kind=trace.SpanKind.SERVER,
        attributes={
            "rpc.system": "fanfare",
            "rpc.method": request.method,
            "fanfare.tenant": request.tenant,
            "fanfare.request": request.id,
        },
    ):
        yield
