"""What staff, companies and the public are shown of an emergency."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from hub.kernel.types import View


class ItemView(View):
    name: str
    unit: str
    per_head: int


class Clock(View):
    """The incident's clock. `seconds_left` is negative once it has run out, and stands still when it is closed."""

    declared_at: datetime
    deadline_at: datetime
    closed_at: datetime | None
    seconds_left: int


class IncidentView(View):
    id: int
    title: str
    area: str
    status: str
    exercise: bool
    access: str
    mall_ids: list[int] | None
    items: list[ItemView]
    unverified_headcount: int
    unverified_tier: int
    duplicate_hours: int
    seed: int
    clock: Clock
    declared_by: str
    closed_by: str | None


class Declared(IncidentView):
    """The incident, and the public's code, which is shown this once."""

    code: str | None = None


class IncidentPage(View):
    items: list[IncidentView]
    next: str | None


class TierFigures(View):
    """Demands of one tier and item, in units. `counted` is what verified people warrant of what was asked."""

    tier: int
    item: str
    sites: int
    served: int
    asked: int
    counted: int
    allotted: int
    ordered: int
    delivered: int
    in_time: int
    late: int
    refused: int


class StockFigures(View):
    """Stock of one item, in units: supplied = fenced + taken + lost + given_back."""

    item: str
    vendors: int
    warehouses: int
    supplied: int
    fenced: int
    taken: int
    lost: int
    given_back: int


class Intake(View):
    sites: int
    verified: int
    demands: int
    asked_again: int
    withdrawn: int


class Figures(View):
    """How the incident stands. `filled`: allotted of what counts."""

    counted: int
    allotted: int
    filled: float | None
    in_time: int
    late: int
    tiers: list[TierFigures]
    stock: list[StockFigures]
    intake: Intake
    as_of: datetime


class IncidentDetail(IncidentView):
    figures: Figures


class ZoneItem(ItemView):
    """An item, and how many units of it are fenced off and not promised to anybody yet."""

    fenced: int


class ZoneView(View):
    """An open zone as those see it who may ask in it. `products` are the goods behind it, as the catalogue
    shows them to companies; the public sees none."""

    id: int
    title: str
    area: str
    exercise: bool
    items: list[ZoneItem]
    clock: Clock
    seed: int
    products: list[dict[str, Any]]


class Zones(View):
    items: list[ZoneView]


class LineResult(View):
    """What became of one line. `accepted`: it counts. `replaced`: it takes the place of what the site asked before.
    `duplicate`: the site, or its address, has asked for this within the window; it does not count. `invalid`: see
    `detail`. Lines of a file count from 1, the header is line 1."""

    line: int
    site: str | None
    item: str | None
    result: Literal["accepted", "replaced", "duplicate", "invalid"]
    detail: str | None = None


class IntakeReport(View):
    accepted: int
    replaced: int
    duplicate: int
    invalid: int
    results: list[LineResult]


class DemandView(View):
    """A demand with its site, without address and contact. `counts`: units that verified people warrant."""

    id: int
    site_id: int
    site: str
    area: str
    mall_id: int | None
    item: str
    quantity: int
    counts: int
    allotted: int
    headcount: int | None
    verified_headcount: int | None
    tier: int | None
    pool: str
    floor: int
    substitutes: bool
    channel: str
    asked_at: datetime
    asked_again: int


class DemandPage(View):
    items: list[DemandView]
    next: str | None


class AskedView(View):
    """A company's own demand, and what the plans that were carried out said about it."""

    site: str
    item: str
    quantity: int
    verified: bool
    counts: int
    allotted: int
    asked_at: datetime
    why: list[str]


class AskedPage(View):
    items: list[AskedView]
    next: str | None


class SupplyView(View):
    """A supply. quantity = fenced + taken + lost + given_back, in units of the listing."""

    id: int
    vendor_id: int
    listing_id: str
    item: str
    warehouse: str
    location: str
    lot: str
    expires_at: datetime | None
    units_each: int
    pool: str
    substitute: bool
    quantity: int
    fenced: int
    taken: int
    lost: int
    given_back: int


class SupplyPage(View):
    items: list[SupplyView]
    next: str | None


class SuppliesView(View):
    items: list[SupplyView]


class SupplierView(View):
    vendor_id: int
    supplies: list[SupplyView]


class Done(View):
    """How many rows were written."""

    written: int


class ApprovalView(View):
    actor: str
    at: datetime


class PlanView(View):
    """A plan. It is a dry run until two people have approved it. `done`: per cent of the solving."""

    id: int
    incident_id: int
    state: str
    stage: str
    done: int
    author: str
    created_at: datetime
    replaces: int | None
    replaced_by: int | None
    snapshot_at: datetime | None
    solved_at: datetime | None
    seconds: float | None
    snapshot_sha256: str | None
    plan_sha256: str | None
    longest_hours: float | None
    figures: dict[str, Any] | None
    comparison: list[dict[str, Any]] | None
    approvals: list[ApprovalView]
    committed_at: datetime | None
    committed_by: str | None
    dispatched_at: datetime | None
    problem: str | None


class PlanPage(View):
    items: list[PlanView]
    next: str | None


class ShareView(View):
    """Why a site got what it got of one item."""

    site_id: int
    site: str
    item: str
    tier: int
    asked: int
    counted: int
    granted: int
    reason: str
    words: str


class SharePage(View):
    items: list[ShareView]
    next: str | None


class AfterAction(View):
    """The report on an incident: what it was, how it stands, its plans and who approved them."""

    incident: IncidentView
    figures: Figures
    plans: list[PlanView]
