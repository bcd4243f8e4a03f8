"""Traces and logs: spans link across the bus instead of nesting, and logs carry only open words."""

import json
import logging
import sys
import threading
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import structlog
from opentelemetry import propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from hub_schemas.envelope import RecordedEvent

_tracer = trace.get_tracer("hub")
_exporting = threading.Event()


def configure_tracing(service_name: str, otlp_endpoint: str | None) -> None:
    """Export spans to an OTLP collector over HTTP; without an endpoint no span is recorded at all.

    Export never holds up work: a collector that is down loses spans, not referrals.
    """
    if otlp_endpoint is None:
        return
    _exporting.set()
    provider = TracerProvider(resource=Resource.create({"service.name": service_name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{otlp_endpoint}/v1/traces")))
    trace.set_tracer_provider(provider)


def span(
    name: str,
    *,
    kind: trace.SpanKind = trace.SpanKind.INTERNAL,
    caller: Mapping[str, str] | None = None,
    **attributes: str | int,
) -> AbstractContextManager[object]:
    """A span around a block, child of the caller's whose W3C headers are given; free where nobody looks.

    Attribute names are written with underscores for dots.
    """
    if not _exporting.is_set():
        return nullcontext()
    return _tracer.start_as_current_span(
        name,
        context=propagate.extract(caller) if caller else None,
        kind=kind,
        attributes={key.replace("_", "."): value for key, value in attributes.items()},
    )


def current_traceparent() -> str | None:
    """The W3C traceparent of the span under way, to be stored with what it records."""
    if not trace.get_current_span().get_span_context().is_valid:
        return None
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def processing(consumer: str, events: Sequence[RecordedEvent]) -> Iterator[None]:
    """A span around the effects of events of one source, linked to the spans that recorded them.

    A link and not a parent, because a parked or replayed event may be handled days later. The message key is
    left out of the attributes: it points at a person's record.
    """
    if not _exporting.is_set():
        yield
        return
    origins = {event.traceparent for event in events if event.traceparent is not None}
    links = [
        trace.Link(trace.get_current_span(propagate.extract({"traceparent": origin})).get_span_context())
        for origin in origins
    ]
    with _tracer.start_as_current_span(
        f"process {events[0].source}",
        kind=trace.SpanKind.CONSUMER,
        links=links,
        attributes={
            "messaging.system": "hub",
            "messaging.operation.type": "process",
            "messaging.consumer.group.name": consumer,
            "messaging.destination.name": events[0].source,
            "messaging.batch.message_count": len(events),
        },
    ):
        yield


def configure_logging(level: str) -> None:
    """Write one JSON object a line to standard error, with the correlation id where there is one."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_traceback_values,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_NameOnly())
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


class _NameOnly(logging.Formatter):
    """What libraries log, without their words and tracebacks: either may quote a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Level, logger and the class of the error, as JSON."""
        error = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        return json.dumps({"level": record.levelname.lower(), "logger": record.name, "error": error})


def _without_traceback_values(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Turn exception info into the error's class and place: messages and values may hold personal data."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        if frame is not None:
            event["error_at"] = f"{frame.tb_frame.f_code.co_name}:{frame.tb_lineno}"
    return event
