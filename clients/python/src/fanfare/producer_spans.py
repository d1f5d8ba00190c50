"""The spans of publishing, whose context travels in the envelope, so that what nodes and pages do with an event belongs
to whoever published it. By OpenTelemetry's conventions for messaging: a single event is sent in a span of its own; of a
batch each event has a span in which it is made, and what goes out together is one more, with links to them.
Deliberately not left to the instrumentation of redis-py: its spans are the event's neighbours, and nothing that travels
with the event names them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Callable

from .errors import REDIS_ERRORS
from .event import Event
from .tracing import IS_INSTALLED, PROPAGATOR, TRACER, remote

if IS_INSTALLED:
    from opentelemetry import trace

#: Makes an envelope that carries this trace, unless the event brings its own.
Encode = Callable[[Mapping[str, str]], bytes]

_KIND = "messaging.destination.template"


class Untraced:
    """Stands for a span where nothing is traced."""

    #: The trace that the event goes on with, and what is told of it: for the span that sends it. None for none.
    link: tuple[Any, Mapping[str, Any]] | None = None

    def make(self, encode: Encode) -> bytes:
        """The envelope, as this span has it."""
        return encode({})

    def end(self, error: BaseException | None = None) -> None:
        """To be called when it is known what became of an event that could be made."""


UNTRACED = Untraced()


class Sending(Untraced):
    """One event that is sent by itself. The context manager of `send_span` ends it."""

    def __init__(self, span: Any, is_own: bool) -> None:
        self._span, self._is_own = span, is_own

    def make(self, encode: Encode) -> bytes:
        """With this span's context, unless the event brings its own."""
        envelope = encode(_context(self._span) if self._is_own else {})
        if self._span.is_recording():
            self._span.set_attribute("messaging.message.body.size", len(envelope))
        return envelope


class Creation(Sending):
    """One event of a batch."""

    def __init__(self, span: Any, attributes: Mapping[str, Any]) -> None:
        super().__init__(span, is_own=True)
        self.link = (span.get_span_context(), attributes)

    def make(self, encode: Encode) -> bytes:
        """With this span's context. What can't be made ends the span."""
        try:
            return super().make(encode)
        except BaseException as error:
            self.end(error)
            raise

    def end(self, error: BaseException | None = None) -> None:
        """With the error, if there was one."""
        if error is not None:
            _fail(self._span, error)
        self._span.end()


class Linked(Untraced):
    """An event of a batch that brings a trace of its own, which it keeps."""

    def __init__(self, context: Any, attributes: Mapping[str, Any]) -> None:
        self.link = (context, attributes)


@contextmanager
def send_span(event: Event, is_traced: bool) -> Iterator[Untraced]:
    """A span around the sending of one event. An event that brings a trace keeps it, and the span has a link to it."""
    if not (IS_INSTALLED and is_traced):
        yield UNTRACED
        return
    is_own = not _brings_trace(event)
    with TRACER.start_as_current_span(
        f"send {_kind(event)}",
        kind=trace.SpanKind.PRODUCER if is_own else trace.SpanKind.CLIENT,
        attributes={**_operation("send"), **_attributes(event)},
        links=() if is_own else _links([(_brought(event), {})]),
        set_status_on_exception=False,
    ) as span:
        try:
            yield Sending(span, is_own)
        except BaseException as error:
            _fail(span, error)
            raise


def start_creation(event: Event, is_traced: bool) -> Untraced:
    """Begins to publish one event of a batch. An event that brings a trace keeps it, and has no span here."""
    if not (IS_INSTALLED and is_traced):
        return UNTRACED
    attributes = _attributes(event)
    if _brings_trace(event):
        return Linked(_brought(event), attributes)
    span = TRACER.start_span(
        f"create {_kind(event)}",
        kind=trace.SpanKind.PRODUCER,
        attributes={**_operation("create"), **attributes},
    )
    return Creation(span, attributes)


class BatchSpan:
    """A span around the sending of several events together, with links to those in which they were made. There is none
    when none of those is sampled."""

    def __init__(self, events: Sequence[Untraced]) -> None:
        self._events = events
        links = [event.link for event in events if event.link is not None]
        is_sampled = any(context.trace_flags.sampled for context, _ in links)
        self._span = _start_batch(len(events), links) if is_sampled else None

    @contextmanager
    def active(self) -> Iterator[None]:
        """While it is sent. Errors of Redis are left to `end`, which is told what they mean for each event."""
        try:
            with (
                nullcontext()
                if self._span is None
                else trace.use_span(self._span, record_exception=False, set_status_on_exception=False)
            ):
                yield
        except REDIS_ERRORS:
            raise
        except BaseException as error:
            self.end([error] * len(self._events))
            raise

    def end(self, errors: Sequence[BaseException | None]) -> None:
        """Told why each event failed; None for those that didn't."""
        for event, error in zip(self._events, errors):
            event.end(error)
        if self._span is None:
            return
        first = next((error for error in errors if error is not None), None)
        if first is not None:
            _fail(self._span, first)
        self._span.end()


def _start_batch(count: int, links: Sequence[tuple[Any, Mapping[str, Any]]]) -> Any:
    first, *others = (attributes for _, attributes in links)
    shared = {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
    return TRACER.start_span(
        f"send {shared[_KIND]}" if _KIND in shared else "send",
        kind=trace.SpanKind.CLIENT,
        attributes={**_operation("send"), **shared, "messaging.batch.message_count": count},
        links=_links(links),
    )


def _operation(name: str) -> dict[str, Any]:
    return {
        "messaging.system": "fanfare",
        "messaging.operation.name": name,
        "messaging.operation.type": name,
    }


def _attributes(event: Event) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "messaging.destination.name": event.topic,
        _KIND: _kind(event),
        "fanfare.tenant": event.tenant,
        "fanfare.durable": event.durable,
        "fanfare.event.type": event.type,
    }
    if event.id is not None:
        attributes["messaging.message.id"] = event.id
    return attributes


def _kind(event: Event) -> str:
    return event.topic.partition(":")[0]


def _brings_trace(event: Event) -> bool:
    return event.traceparent is not None or event.tracestate is not None


def _links(links: Sequence[tuple[Any, Mapping[str, Any]]]) -> list[Any]:
    return [trace.Link(context, attributes) for context, attributes in links if context.is_valid]


def _brought(event: Event) -> Any:
    return trace.get_current_span(remote(event.traceparent)).get_span_context()


def _context(span: Any) -> dict[str, str]:
    fields: dict[str, str] = {}
    PROPAGATOR.inject(fields, trace.set_span_in_context(span))
    return fields


def _fail(span: Any, error: BaseException) -> None:
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(trace.Status(trace.StatusCode.ERROR, str(error)))
