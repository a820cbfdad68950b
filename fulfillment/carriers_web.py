"""Carriers over HTTP: the address that their systems push to, and what staff do with payloads, with parcels that are
followed and with questions about single parcels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from fulfillment import store
from fulfillment.carriers import api as carriers
from fulfillment.carriers import intake
from fulfillment.carriers.contracts import CarrierParcel
from fulfillment.carriers.documents import BYTES
from fulfillment.contracts import CarrierCode, EventResult, TrackingNo
from hub.kernel import audit, bodies
from hub.kernel.db import uow
from hub.kernel.errors import Broken, HubError, Misconfigured, Rejected, Retry, TooLarge
from hub.kernel.types import Input, SafeText, View
from hub.kernel.web import Answer, Call, Routes

routes = Routes("carriers")

RowId = Annotated[int, Field(ge=1, le=2**62)]
Outcome = Literal["answered", "nothing_known", "asked_lately", "refused", "unavailable", "unsupported"]
State = Literal["asked", "followed", "phone_needed", "refused", "ended"]


class OfAccount(Input):
    """The carrier account (a connection) that the push is about."""

    connection: RowId


class UploadQuery(Input):
    """`carrier`: whose payload it is. `asked`: the number asked for, where the payload does not say it. `dry_run`: read
    it, keep and record nothing."""

    carrier: CarrierCode
    asked: Annotated[SafeText, Field(min_length=1, max_length=80)] | None = None
    dry_run: bool = False


class Lookup(Input):
    """One parcel to ask an account about. The phone number goes to that account and is kept nowhere."""

    connection_id: RowId
    carrier: CarrierCode
    tracking_no: TrackingNo
    phone: Annotated[str, Field(pattern=r"^[0-9+\- ]{4,20}$")] | None = None


class ScanView(View):
    """One scan. `timestamp` has its zone where one is known; `date` and `time` are the wall clock as the carrier wrote
    it."""

    status: str
    code: str | None
    description: str | None
    location: str | None
    date: str
    time: str
    timestamp: datetime | None
    zone_from: str | None
    cause: str | None


class ReadParcel(View):
    """A parcel as its carrier tells of it, the newest scan first."""

    carrier: str
    tracking_number: str | None
    status: str
    delivered: bool
    events: list[ScanView]


class RefusedScan(View):
    """A record that looks like a scan and cannot be used."""

    reason: str
    pointer: str


class ProblemSaid(View):
    """What the carrier says is wrong."""

    code: str | None
    message: str


class ReadPayload(View):
    """What a payload says and, unless it was only read, what became of its scans. `not_recorded` says why scans were
    not."""

    parcels: list[ReadParcel]
    refused: list[RefusedScan]
    problems: list[ProblemSaid]
    results: list[EventResult]
    not_recorded: list[str]


class LookedUp(View):
    """What a question about one parcel came to. `again_at`: when it may be asked again."""

    outcome: Outcome
    detail: str
    again_at: datetime | None = None
    answer: ReadPayload | None = None


class CarrierView(View):
    """A carrier that the hub knows by name."""

    carrier: str
    title: str
    title_zh: str
    names: list[str]
    zone: str | None
    codes: int
    phone_needed: bool
    followed: bool


class Carriers(View):
    """The carriers with a table. Others are read all the same, by structure and words."""

    items: list[CarrierView]


class FollowView(View):
    """A parcel that an account follows, or does not."""

    id: int
    connection_id: int
    carrier: str
    tracking_no: str
    state: State
    attempts: int
    detail: str | None
    changed_at: datetime


class FollowPage(View):
    """A piece of the parcels, newest first, and how many there are in each state."""

    items: list[FollowView]
    counts: dict[str, int]
    next: str | None


class FollowsQuery(Input):
    """A window over the parcels; `next` of an answer goes into `cursor`."""

    state: State | None = None
    cursor: RowId | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class AskAgain(Input):
    """Parcels of which state."""

    state: Literal["phone_needed", "refused", "ended"]


class AskedAgain(View):
    """How many parcels will be asked for again."""

    parcels: int


@routes.post(
    "/push/carriers/{carrier}",
    scope="public",
    summary="Take a carrier system's own push, under its own signature",
    query=OfAccount,
    raw_body="application/x-www-form-urlencoded, application/json, application/xml",
    answer=dict[str, Any],
)
async def push(call: Call[Any, OfAccount]) -> Answer:
    """200, in the system's own words, once the push is kept for good; 401 for a signature that does not fit; 404 where
    no pushes are taken."""
    declared = call.request.content_length
    if declared is not None and declared > BYTES:
        raise TooLarge(f"a push may be at most {BYTES} bytes", code="body_too_large")
    body = await bodies.whole(call.request)
    headers = dict(call.request.headers)
    return Answer(dict(await carriers.take_push(call.path["carrier"], call.query.connection, headers, body)))


@routes.get("/carriers", scope="staff", summary="Carriers that the hub knows by name", answer=Carriers)
async def known_carriers(_call: Call[Any, Any]) -> Carriers:
    items = [
        CarrierView(
            carrier=table.carrier, title=table.title, title_zh=table.title_zh, names=list(table.names),
            zone=str(table.zone_info) if table.zone_info else None, codes=len(table.meanings),
            phone_needed=table.phone, followed=table.kuaidi100 is not None,
        )
        for _, table in sorted(carriers.tables().items())
    ]  # fmt: skip
    return Carriers(items=items)


@routes.post(
    "/carriers/payloads",
    scope="staff",
    summary="Read a carrier's raw payload, and record what it says",
    query=UploadQuery,
    raw_body="application/json, application/xml, application/x-www-form-urlencoded, text/plain",
    answer=ReadPayload,
    tx=True,
)
async def payloads(call: Call[Any, UploadQuery]) -> ReadPayload:
    body = await bodies.whole(call.request)
    carrier, asked = call.query.carrier, call.query.asked
    if call.query.dry_run:
        return shown(intake.Parcels(reading=await intake.read_aside(carrier, body, asked)))
    done = await carriers.upload(call.tx, carrier, body, asked)
    facts = {"carrier": carriers.fold(carrier)[:60], "parcels": len(done.reading.parcels), **done.outcome["scans"]}
    await audit.record(call.tx, call.principal.actor, "carrier.payload", f"carrier:{facts['carrier']}", facts)
    return shown(done)


@routes.post("/carriers/lookups", scope="staff", summary="Ask an account about one parcel now", body=Lookup,
             answer=LookedUp)  # fmt: skip
async def lookups(call: Call[Lookup, Any]) -> LookedUp:
    wanted = call.body
    company = carriers.table_of(wanted.carrier).kuaidi100
    if company is None:
        return LookedUp(outcome="unsupported", detail=f"no account can be asked about parcels of {wanted.carrier}")
    try:
        done = await carriers.look_up(wanted.connection_id, company, wanted.tracking_no, wanted.phone)
    except HubError as error:
        outcome = _outcome(error)
        if outcome is None:
            raise
        told = LookedUp(outcome=outcome, detail=error.detail, again_at=error.facts.get("again_at"))
    else:
        told = LookedUp(outcome="answered", detail=f"{len(done.results)} scans recorded", answer=shown(done))
    async with uow() as tx:  # after the question: nothing is held open while somebody else is asked
        facts = {"carrier": carriers.fold(wanted.carrier)[:60], "outcome": told.outcome}
        await audit.record(tx, call.principal.actor, "carrier.lookup", f"connection:{wanted.connection_id}", facts)
    return told


def _outcome(error: HubError) -> Outcome | None:
    """What a question came to that brought no answer; None for one to a connection that does not exist."""
    by_code: dict[str, Outcome] = {
        "nothing_known": "nothing_known",
        "asked_lately": "asked_lately",
        "no_lookup": "unsupported",
    }
    if error.code in by_code:
        return by_code[error.code]
    if isinstance(error, Retry):
        return "unavailable"
    return "refused" if isinstance(error, Rejected | Misconfigured | Broken) else None


@routes.get("/carriers/follows", scope="staff", summary="Parcels that carrier accounts follow", query=FollowsQuery,
            answer=FollowPage, tx=True)  # fmt: skip
async def follows(call: Call[Any, FollowsQuery]) -> FollowPage:
    query = call.query
    rows = await store.carriers.follow_rows(call.tx, query.state, query.cursor or 2**62, query.limit + 1)
    items = [FollowView(**dict(row)) for row in rows[: query.limit]]
    more = str(items[-1].id) if len(rows) > query.limit else None
    return FollowPage(items=items, counts=await store.carriers.follow_counts(call.tx), next=more)


@routes.post("/carriers/follows/again", scope="staff", summary="Ask again to follow parcels that were not",
             body=AskAgain, answer=AskedAgain, tx=True)  # fmt: skip
async def follow_again(call: Call[AskAgain, Any]) -> AskedAgain:
    count = await store.carriers.ask_again(call.tx, call.body.state)
    facts = {"state": call.body.state, "parcels": count}
    await audit.record(call.tx, call.principal.actor, "carrier.follow_again", "carrier:follows", facts)
    return AskedAgain(parcels=count)


def shown(done: intake.Parcels) -> ReadPayload:
    """A payload that was read, as staff see it. What was refused is named and not repeated: it may be about people."""
    reading = done.reading
    return ReadPayload(
        parcels=[_parcel(parcel) for parcel in reading.parcels],
        refused=[RefusedScan(reason=one.reason, pointer=one.pointer) for one in reading.refused[:200]],
        problems=[ProblemSaid(code=one.code, message=one.message) for one in reading.problems],
        results=list(done.results),
        not_recorded=_each_once(done.unread),
    )


def _parcel(parcel: CarrierParcel) -> ReadParcel:
    return ReadParcel(
        carrier=parcel.carrier,
        tracking_number=parcel.tracking_no,
        status=parcel.status.value,
        delivered=parcel.delivered,
        events=[
            ScanView(
                status=scan.status.value, code=scan.code, description=scan.description, location=scan.place,
                date=f"{scan.local:%Y-%m-%d}", time=f"{scan.local:%H:%M:%S}", timestamp=scan.at,
                zone_from=scan.zone_from, cause=scan.cause,
            )
            for scan in parcel.events
        ],
    )  # fmt: skip


def _each_once(reasons: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(reasons))
