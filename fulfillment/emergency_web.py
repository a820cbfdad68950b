"""Emergencies for procurement staff: declare, supply, verify, plan, approve, commit, report. What companies and the
public see is in zones_web."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fulfillment.emergency import demands, incidents, intake, plans, reporting, solving, supplies
from fulfillment.emergency.models import (
    ApproveIn,
    ExplainQuery,
    FilesQuery,
    IncidentIn,
    LeadsIn,
    Page,
    ReportQuery,
    StaffDemandIn,
    SupplierIn,
    SuppliesIn,
    VerificationsIn,
)
from fulfillment.emergency.views import (
    AfterAction,
    Declared,
    DemandPage,
    Done,
    IncidentDetail,
    IncidentPage,
    IncidentView,
    IntakeReport,
    PlanPage,
    PlanView,
    SharePage,
    ShareView,
    SupplierView,
    SuppliesView,
    SupplyPage,
)
from fulfillment.store import emergency, emergency_plans
from fulfillment.zones_web import AmendQuery
from hub.kernel.errors import Conflict, NotFound
from hub.kernel.web import Answer, Call, Routes

routes = Routes("emergency")
T = TypeVar("T")


def number_of(text: str, what: str) -> int:
    """The number in a path; what cannot be one is simply not found."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise NotFound(f"there is no such {what}", code=f"no_{what}")
    return int(text)


def _incident(call: Call[Any, Any]) -> int:
    return number_of(call.path["id"], "incident")


def _plan(call: Call[Any, Any]) -> int:
    return number_of(call.path["id"], "plan")


def _paged(rows: Sequence[Any], limit: int, shown: Callable[[Any], T], key: str = "id") -> tuple[list[T], str | None]:
    """A page's items, and where the next one begins."""
    return [shown(row) for row in rows[:limit]], str(rows[limit - 1][key]) if len(rows) > limit else None


@routes.post("/incidents", scope="staff", summary="Declare an incident; its zone is open at once", body=IncidentIn,
             answer=Declared, status=201, tx=True)  # fmt: skip
async def declare(call: Call[IncidentIn, None]) -> Declared:
    row, code = await incidents.declare(call.tx, call.principal.actor, call.body)
    return Declared(**incidents.facts_of(call.tx, row), code=code)


@routes.get("/incidents", scope="staff", summary="Incidents, the newest first", query=Page, answer=IncidentPage,
            tx=True)  # fmt: skip
async def list_incidents(call: Call[None, Page]) -> IncidentPage:
    query = call.query
    before = 2**62 if query.cursor is None else query.cursor
    rows = await incidents.rows(call.tx, before, query.limit + 1)
    items, following = _paged(rows, query.limit, lambda row: incidents.view_of(call.tx, row))
    return IncidentPage(items=items, next=following)


@routes.get("/incidents/{id}", scope="staff", summary="An incident, its clock and its figures", answer=IncidentDetail,
            tx=True)  # fmt: skip
async def one_incident(call: Call[None, None]) -> IncidentDetail:
    row = await incidents.found(call.tx, _incident(call))
    return IncidentDetail(**incidents.facts_of(call.tx, row), figures=await incidents.figures(call.tx, row))


@routes.post("/incidents/{id}/close", scope="staff", summary="Close an incident; what is left is ordinary stock again",
             answer=IncidentView, tx=True)  # fmt: skip
async def close(call: Call[None, None]) -> IncidentView:
    return incidents.view_of(call.tx, await incidents.close(call.tx, call.principal.actor, _incident(call)))


@routes.get("/incidents/{id}/report", scope="staff", summary="The after-action report, as JSON, CSV or a page",
            query=ReportQuery, answer=AfterAction, tx=True)  # fmt: skip
async def after_action(call: Call[None, ReportQuery]) -> Any:
    found = await reporting.report(call.tx, await incidents.found(call.tx, _incident(call)))
    if call.query.format == "csv":
        return Answer(body=reporting.as_csv(found), content_type="text/csv")
    if call.query.format == "html":
        return Answer(body=reporting.as_page(found), content_type="text/html")
    return found


@routes.post("/incidents/{id}/supplies", scope="staff", summary="Fence off stock of listings that are on sale",
             body=SuppliesIn, answer=SuppliesView, status=201, tx=True)  # fmt: skip
async def fence(call: Call[SuppliesIn, None]) -> SuppliesView:
    made = await supplies.fence(call.tx, call.principal.actor, _incident(call), call.body.supplies)
    return SuppliesView(items=made)


@routes.get("/incidents/{id}/supplies", scope="staff", summary="Supplies of an incident and what became of them",
            query=Page, answer=SupplyPage, tx=True)  # fmt: skip
async def list_supplies(call: Call[None, Page]) -> SupplyPage:
    query, incident = call.query, await incidents.found(call.tx, _incident(call))
    rows = await emergency.supply_rows(call.tx, incident["id"], query.cursor or 0, query.limit + 1)
    items, following = _paged(rows, query.limit, supplies.view_of)
    return SupplyPage(items=items, next=following)


@routes.post("/incidents/{id}/suppliers", scope="staff", body=SupplierIn, answer=SupplierView, status=201, tx=True,
             summary="A supplier that joins now: vendor, goods, stock and lead times in one call")  # fmt: skip
async def onboard(call: Call[SupplierIn, None]) -> SupplierView:
    vendor_id, made = await supplies.onboard(call.tx, call.principal.actor, _incident(call), call.body)
    return SupplierView(vendor_id=vendor_id, supplies=made)


@routes.post("/incidents/{id}/lead-times", scope="staff", summary="How long warehouses take to areas and sites",
             body=LeadsIn, answer=Done, tx=True)  # fmt: skip
async def put_lead_times(call: Call[LeadsIn, None]) -> Done:
    written = await supplies.put_leads(call.tx, call.principal.actor, _incident(call), call.body.leads)
    return Done(written=written)


@routes.post("/incidents/{id}/demands", scope="staff", raw_body=intake.MEDIA, query=AmendQuery, answer=IntakeReport,
             summary="Enter demands, verified ones too: {demands: [...]}, form or CSV table; a result for each line",
             tx=True)  # fmt: skip
async def enter_demands(call: Call[None, AmendQuery]) -> IntakeReport:
    incident_id = _incident(call)
    await incidents.found(call.tx, incident_id)
    channel, lines = await intake.lines_of(call.request, StaffDemandIn)
    return await demands.take(
        call.tx, await incidents.locked(call.tx, incident_id), lines, model=StaffDemandIn, owner=0, channel=channel,
        actor=call.principal.actor, amend=call.query.amend,
    )  # fmt: skip


@routes.get("/incidents/{id}/demands", scope="staff", summary="Demands, in the order in which they came", query=Page,
            answer=DemandPage, tx=True)  # fmt: skip
async def list_demands(call: Call[None, Page]) -> DemandPage:
    query, incident = call.query, await incidents.found(call.tx, _incident(call))
    rows = await emergency.demand_rows(call.tx, incident["id"], query.cursor or 0, query.limit + 1)
    items, following = _paged(rows, query.limit, lambda row: demands.view_of(incident, row))
    return DemandPage(items=items, next=following)


@routes.post("/incidents/{id}/verifications", scope="staff", body=VerificationsIn, answer=Done, tx=True,
             summary="What was verified of sites: people, tier, reserve, promised minimum")  # fmt: skip
async def verify_sites(call: Call[VerificationsIn, None]) -> Done:
    written = await demands.verify(call.tx, call.principal.actor, _incident(call), call.body.sites)
    return Done(written=written)


@routes.post("/incidents/{id}/plans", scope="staff", summary="Have a plan solved on the state as it is now",
             answer=PlanView, status=202, tx=True)  # fmt: skip
async def ask_for_plan(call: Call[None, None]) -> PlanView:
    plan_id = await plans.ask(call.tx, call.principal, _incident(call))
    return plans.view_of(await plans.found(call.tx, plan_id))


@routes.get("/incidents/{id}/plans", scope="staff", summary="Plans, the newest first", query=Page, answer=PlanPage,
            tx=True)  # fmt: skip
async def list_plans(call: Call[None, Page]) -> PlanPage:
    query, incident = call.query, await incidents.found(call.tx, _incident(call))
    before = 2**62 if query.cursor is None else query.cursor
    rows = await emergency_plans.plan_rows(call.tx, incident["id"], before, query.limit + 1)
    items, following = _paged(rows, query.limit, plans.view_of)
    return PlanPage(items=items, next=following)


@routes.get("/plans/{id}", scope="staff", summary="A plan: how far it is, its figures, who approved it",
            answer=PlanView, tx=True)  # fmt: skip
async def one_plan(call: Call[None, None]) -> PlanView:
    return plans.view_of(await plans.found(call.tx, _plan(call)))


@routes.post("/plans/{id}/approve", scope="staff", summary="Approve a plan; it takes two people", tx=True,
             body=ApproveIn | None, answer=PlanView)  # fmt: skip
async def approve(call: Call[ApproveIn | None, None]) -> PlanView:
    said = call.body.plan_sha256 if call.body is not None else None
    return plans.view_of(await plans.approve(call.tx, call.principal, _plan(call), said))


@routes.post("/plans/{id}/commit", scope="staff", answer=PlanView,
             summary="Take an approved plan's stock, all of it or nothing, and have it sent")  # fmt: skip
async def commit(call: Call[None, None]) -> PlanView:
    return await plans.commit(call.principal, _plan(call))


@routes.get("/plans/{id}/explain", scope="staff", summary="Why a site, or every site, got what it got",
            query=ExplainQuery, answer=SharePage, tx=True)  # fmt: skip
async def explain(call: Call[None, ExplainQuery]) -> SharePage:
    query, plan = call.query, await plans.found(call.tx, _plan(call))
    site_id = None if query.site is None else await _site(call, plan["incident_id"], query.site)
    rows = await emergency_plans.explained(call.tx, plan["id"], site_id, query.cursor or 0, query.limit + 1)
    items, following = _paged(rows, query.limit, lambda row: ShareView(**dict(row), site=row["name"]), "demand_id")
    return SharePage(items=items, next=following)


async def _site(call: Call[Any, Any], incident_id: int, said: str) -> int:
    """The site by its number (`12`, `site_12`) or by its name."""
    digits = said.removeprefix("site_")
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else 0
    if number and await emergency.sites_there(call.tx, incident_id, [number]):
        return number
    key = demands.bare(said)
    named = (await emergency.sites_named(call.tx, incident_id, [key])).get(key, [])
    if len(named) > 1:
        raise Conflict(f"{len(named)} sites are called so; give its number: {named[:20]}", code="several_sites")
    if not named:
        raise NotFound("the incident has no such site", code="no_site")
    return named[0]


@routes.get("/plans/{id}/files", scope="staff", query=FilesQuery, answer="application/zip", tx=True,
            summary="A plan's input, rows and certificate, as `supplyhub verify-plan` takes them")  # fmt: skip
async def plan_files(call: Call[None, FilesQuery]) -> Answer:
    plan = await plans.found(call.tx, _plan(call))
    archive = await emergency_plans.plan_files(call.tx, plan["id"])
    if archive is None:
        raise Conflict("this plan is not solved yet", code="not_solved", facts={"state": plan["state"]})
    name = call.query.file
    if name == "all.zip":
        return Answer(body=archive, content_type="application/zip")
    media = "application/json" if name.endswith(".json") else "text/csv"
    return Answer(body=solving.unzipped(archive, name), content_type=media)
