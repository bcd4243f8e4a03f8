"""The kernel's metrics, for Prometheus. Labels name our own parts, never anything of a record."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

EVENTS_APPENDED: Final = Counter("hub_events_appended_total", "Events appended to a log.", ["log"])
EVENTS_CONSUMED: Final = Counter(
    "hub_events_consumed_total", "Events a consumer has dealt with.", ["consumer", "source", "outcome"]
)
CONSUMER_LAG_EVENTS: Final = Gauge(
    "hub_consumer_lag_events", "Events not yet consumed.", ["consumer", "source"]
)
CONSUMER_LAG_SECONDS: Final = Gauge(
    "hub_consumer_lag_seconds", "Age of the oldest event not yet consumed.", ["consumer", "source"]
)
CIRCUIT_OPEN: Final = Gauge(
    "hub_consumer_circuit_open", "1 while a consumer waits for what it depends on.", ["consumer", "source"]
)
CONSUMER_REBUILDS: Final = Counter(
    "hub_consumer_rebuilds_total", "Times a stalled member was made anew.", ["consumer", "source"]
)
RELAY_LAG_EVENTS: Final = Gauge("hub_relay_lag_events", "Facts not yet acknowledged by Kafka.", ["source"])
RELAY_LAG_SECONDS: Final = Gauge(
    "hub_relay_lag_seconds", "Age of the oldest fact not yet acknowledged by Kafka.", ["source"]
)
RELAYED: Final = Counter("hub_relayed_total", "Facts acknowledged by Kafka, repeats included.", ["source"])
PARKED_EVENTS: Final = Gauge("hub_parked_events", "Events parked and waiting for a person.", ["consumer"])
WORKER_FAILURES: Final = Counter("hub_worker_failures_total", "Times a background worker failed.", ["worker"])
SEALED_READS: Final = Counter("hub_sealed_reads_total", "Reads of personal data.", ["service", "reason"])
REQUESTS: Final = Counter("hub_http_requests_total", "HTTP requests.", ["method", "route", "status"])
REQUEST_SECONDS: Final = Histogram(
    "hub_http_request_seconds",
    "Time to answer an HTTP request.",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
