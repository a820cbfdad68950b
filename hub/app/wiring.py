"""THE MAP: what happens next. One page says which handler follows which event, which tasks run when, and which
routes are served. Whoever wants to know what follows from something reads this page and no other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import catalog.api
import catalog.assortment_web
import catalog.listings_web
import catalog.matches_web
import catalog.staff_web
import catalog.vendor_web
import catalog.web
import connectors.api
import connectors.onboarding_web
import connectors.voucher_web
import connectors.web
import fulfillment.api
import fulfillment.carriers.api
import fulfillment.carriers_web
import fulfillment.emergency.api
import fulfillment.emergency_web
import fulfillment.web
import fulfillment.zones_web
import hub.app.notices
import hub.app.operations
import hub.app.webhooks_web
import orders.aftersales_web
import orders.api
import orders.review_web
import orders.settlement_lists_web
import orders.settlement_party_web
import orders.settlement_web
import orders.staff_web
import orders.vendor_web
import orders.web
import pricing.api
import pricing.cases_web
import pricing.rates_web
import pricing.web
from catalog.contracts import AssortmentDropped, AssortmentRestored, ListingIdentityChanged, ListingsChanged, Oversold
from connectors.contracts import ConnectionTurned, PayloadLanded, Quarantined
from fulfillment.carriers.api import CarrierPayloadLanded
from fulfillment.contracts import ShipmentUpdated
from hub.app.pulls import poll_due, pull_due
from hub.kernel import events, tasks, webhook_lanes, webhooks
from hub.kernel.events import Flow
from hub.kernel.web import Route
from orders.contracts import (
    AfterSaleChanged,
    LineReduced,
    LineUnsupplied,
    OrderCancelled,
    OrderPlaced,
    VendorAccepted,
    VendorRefused,
)
from pricing.contracts import (
    DearerPacksFound,
    ParityCaseClosed,
    ParityCaseOffered,
    ParityCaseOpened,
    ParityCaseReopened,
    ParityCaseReviewed,
    ParityCaseTold,
    ParityCaseWaived,
    ParityHoldsChanged,
    PriceMoveConfirmed,
    PriceMovesWaiting,
    ReferencesRecorded,
)

FLOW: Flow = {
    ConnectionTurned: [catalog.api.on_connection_turned],
    PayloadLanded: [catalog.api.on_payload, fulfillment.api.on_payload],
    # packs, and what may be the same goods; search and verdicts went with the listing itself
    ListingsChanged: [catalog.api.on_listings_changed, catalog.api.on_listings_to_match],
    ListingIdentityChanged: [],
    ReferencesRecorded: [catalog.api.on_references],
    Quarantined: [],
    Oversold: [],
    AssortmentDropped: [],
    AssortmentRestored: [],
    ParityCaseOpened: [],  # these are what malls and vendors are told about cases
    ParityCaseTold: [],
    ParityCaseOffered: [],
    ParityCaseWaived: [],
    ParityCaseReopened: [],
    ParityCaseReviewed: [],
    ParityCaseClosed: [],
    ParityHoldsChanged: [catalog.api.on_holds_changed],
    DearerPacksFound: [],
    PriceMovesWaiting: [],
    PriceMoveConfirmed: [catalog.api.on_move_confirmed],
    OrderPlaced: [fulfillment.api.on_placed, orders.api.submit_to_vendors, hub.app.notices.on_order],
    VendorAccepted: [fulfillment.api.on_accepted, hub.app.notices.on_order],
    # orders' locks first, as everywhere
    VendorRefused: [orders.api.on_refused, fulfillment.api.on_refused, hub.app.notices.on_order],
    LineUnsupplied: [fulfillment.api.on_unsupplied, fulfillment.emergency.api.on_unsupplied, hub.app.notices.on_order],
    OrderCancelled: [fulfillment.api.on_cancelled, fulfillment.emergency.api.on_cancelled, hub.app.notices.on_order],
    LineReduced: [fulfillment.api.on_reduced, fulfillment.emergency.api.on_reduced, hub.app.notices.on_order],
    AfterSaleChanged: [hub.app.notices.on_order],
    ShipmentUpdated: [fulfillment.api.on_shipment_updated, hub.app.notices.on_shipment],
    CarrierPayloadLanded: [fulfillment.carriers.api.on_payload],
}

ROUTES: list[Route] = [
    *catalog.web.routes.all,
    *catalog.assortment_web.routes.all,
    *catalog.vendor_web.routes.all,
    *catalog.listings_web.routes.all,
    *catalog.staff_web.routes.all,
    *catalog.matches_web.routes.all,
    *connectors.onboarding_web.routes.all,
    *connectors.web.routes.all,
    *connectors.voucher_web.routes.all,
    *orders.web.routes.all,
    *orders.vendor_web.routes.all,
    *orders.review_web.routes.all,
    *orders.settlement_web.routes.all,
    *orders.settlement_lists_web.routes.all,
    *orders.settlement_party_web.routes.all,
    *orders.staff_web.routes.all,
    *orders.aftersales_web.routes.all,
    *pricing.web.routes.all,
    *pricing.cases_web.routes.all,
    *pricing.rates_web.routes.all,
    *fulfillment.web.routes.all,
    *fulfillment.carriers_web.routes.all,
    *hub.app.webhooks_web.routes.all,
    *fulfillment.emergency_web.routes.all,
    *fulfillment.zones_web.routes.all,
    *hub.app.operations.routes.all,
]

orders.api.read_deliveries_with(fulfillment.api.deliveries_of)  # settlement asks fulfilment, which stands to its right


@dataclass(frozen=True)
class Task:
    """Work that looks into a queue of record. It may run anywhere, at any time, any number of times."""

    run: Callable[[], Awaitable[Any]]
    queue: str  # the bulkhead class whose workers run it
    every_s: float  # the sweep that finds what a lost wake-up left behind


TASKS: dict[str, Task] = {
    tasks.FLOW: Task(lambda: events.drain(FLOW), "flow", 2),
    tasks.PLACE: Task(orders.api.place_due, "flow", 1),
    tasks.SYNC: Task(pull_due, "sync", 2),
    tasks.MATCH: Task(catalog.api.match_due, "match", 5),
    "poll_messages": Task(poll_due, "sync", 10),
    "expire_reservations": Task(orders.api.expire_reservations, "flow", 5),
    "decide_overdue_reviews": Task(orders.api.decide_overdue_reviews, "flow", 30),
    "reconcile": Task(orders.api.reconcile_due, "sync", 300),
    "overdue_acceptances": Task(orders.api.overdue_acceptances, "flow", 60),
    "let_go_of_vendor_holds": Task(orders.api.let_go_due, "flow", 5),
    "expire_verdicts": Task(pricing.api.expire_verdicts, "flow", 60),
    "recheck_verdicts": Task(pricing.api.recheck, "flow", 60),
    "refresh_undecided": Task(fulfillment.api.refresh_undecided, "flow", 60),
    "adopt_late": Task(fulfillment.api.adopt_late, "flow", 60),
    "follow_parcels": Task(fulfillment.carriers.api.follow_due, "sync", 30),
    webhooks.SENDING: Task(webhook_lanes.send_due, "flow", 2),
    "count_words": Task(catalog.api.count_words, "flow", 60),
    fulfillment.emergency.api.SOLVE: Task(fulfillment.emergency.api.solve_due, "flow", 5),
    fulfillment.emergency.api.DISPATCH: Task(fulfillment.emergency.api.dispatch_due, "flow", 5),
    "refresh_standings": Task(orders.api.refresh_standings, "flow", 600),
    "tell_on_time": Task(fulfillment.api.tell_on_time, "flow", 600),
    "watch_assortment": Task(catalog.api.watch_assortment, "flow", 60),
    "canary": Task(hub.app.operations.canary, "flow", 10),
    "housekeeping": Task(hub.app.operations.housekeeping, "flow", 600),
}
