"""Prometheus metrics shared by all packages; shown at /metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Histogram(
    "supplyhub_http_seconds",
    "Time to answer an HTTP request, seconds",
    ["method", "route", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
EVENTS = Counter("supplyhub_events_total", "Outbox events by outcome", ["type", "outcome"])
VENDOR_CALLS = Counter("supplyhub_vendor_calls_total", "Calls to vendors by outcome", ["connector", "outcome"])
LISTINGS = Counter("supplyhub_listings_total", "Listings ingested by outcome", ["outcome"])
SWEEP_DRIFT = Gauge(
    "supplyhub_sweep_drift_rows", "Rows that a connection's last full sweep found and its pulls of changes had missed",
    ["connection"],
)  # fmt: skip
STOCK_REPORTS = Counter("supplyhub_stock_reports_total", "Stock reports by result", ["result"])
QUOTA_REFUSED = Counter("supplyhub_quota_refused_total", "Calls refused because their key had none left")
QUOTA_UNCHECKED = Counter("supplyhub_quota_unchecked_total", "Calls let through while no quota could be looked up")
ORDERS = Counter("supplyhub_orders_total", "Orders by outcome", ["outcome"])
WEBHOOKS = Counter("supplyhub_webhooks_total", "Attempts to deliver outgoing webhooks by outcome", ["outcome"])
WEBHOOKS_WAITING = Gauge("supplyhub_webhooks_waiting", "Outgoing webhooks that are due and not sent")
WEBHOOKS_AGE = Gauge("supplyhub_webhooks_oldest_seconds", "How long the oldest of them has been due, seconds")
ASSORTMENT = Gauge("supplyhub_assortment_orderable", "Products that can be ordered, at the last count", ["kind"])
ASSORTMENT_BELOW = Gauge(
    "supplyhub_assortment_below_seconds",
    "Since when fewer can be ordered than the target, seconds; 0: enough",
    ["kind"],
)
OUTBOX_PENDING = Gauge("supplyhub_outbox_pending", "Events waiting to be delivered")
OUTBOX_DEAD = Gauge("supplyhub_outbox_dead", "Events given up after too many attempts")
OUTBOX_AGE = Gauge("supplyhub_outbox_oldest_seconds", "Age of the oldest waiting event, seconds")
CANARY_AGE = Gauge("supplyhub_worker_canary_seconds", "Seconds since a worker last completed a canary task")
