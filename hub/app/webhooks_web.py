"""Webhook endpoints over HTTP, for malls and vendors: where messages go, how that went, and what to send again. The
tenant comes from the credential alone."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import asyncpg
from pydantic import Field, StringConstraints

from hub.kernel import audit, webhooks
from hub.kernel.errors import Conflict, Fault, Rejected
from hub.kernel.store import webhooks as store
from hub.kernel.types import Input, Instant, SafeText, View, parse_uuid_id, public_id
from hub.kernel.web import Call, Routes

routes = Routes("webhooks")
BOTH: tuple[Literal["mall", "vendor"], ...] = ("mall", "vendor")
STATES = {"waiting": store.PENDING, "delivered": store.DELIVERED, "failed": store.FAILED}
_NAMES = {number: name for name, number in STATES.items()}

Address = Annotated[SafeText, StringConstraints(min_length=1, max_length=2000, strip_whitespace=True)]
Types = Annotated[list[Annotated[SafeText, Field(max_length=60)]], Field(max_length=50)]
About = Annotated[SafeText, Field(max_length=200)]


class EndpointIn(Input):
    """Where messages go. `types` empty: everything that this kind of caller can be told."""

    url: Address
    types: Types = Field(default_factory=list)
    description: About = ""


class EndpointChange(Input):
    """What is to change; `state` `active` also switches a disabled endpoint on again."""

    url: Address | None = None
    types: Types | None = None
    description: About | None = None
    state: Literal["active", "paused"] | None = None


class Endpoint(View):
    """An endpoint. `waiting` messages are to be sent; `failing_since` is set while nothing is taken."""

    id: str
    url: str
    types: list[str]
    description: str
    state: Literal["active", "paused", "disabled"]
    reason: str | None
    failing_since: datetime | None
    retry_at: datetime | None
    waiting: int
    created_at: datetime


class EndpointMade(Endpoint):
    """With the secret that signs its messages; it is not shown again."""

    secret: str


class Endpoints(View):
    items: list[Endpoint]


class Rotated(View):
    """The new secret. Until `old_until` messages carry two signatures."""

    secret: str
    old_until: datetime


class Pinged(View):
    message_id: str


class ReplayIn(Input):
    """Which messages to send again: those between two instants that failed or were never sent, or (`everything`)
    all."""

    since: Instant
    until: Instant | None = None
    everything: bool = False


class Replayed(View):
    """How many messages were queued. `more`: there were more than one call takes; call again."""

    queued: int
    more: bool


class SendingsQuery(Input):
    state: Literal["waiting", "delivered", "failed"] | None = None
    after: Annotated[SafeText, Field(max_length=60)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class Sending(View):
    """One message to this endpoint and how its delivery stands. `status` is what the endpoint answered last."""

    message_id: str
    type: str
    created_at: datetime
    state: Literal["waiting", "delivered", "failed"]
    attempts: int
    tried_at: datetime | None
    due_at: datetime | None
    status: int | None
    error: str | None


class Sendings(View):
    items: list[Sending]
    next: str | None


class MessageType(View):
    """A type of message that this caller can be told."""

    type: str
    description: str


class MessageTypes(View):
    items: list[MessageType]


@routes.get("/webhook-types", scope=BOTH, summary="What can be told to this caller", answer=MessageTypes)
async def list_types(call: Call[None, None]) -> MessageTypes:
    told = webhooks.types_for(call.principal.scope)
    return MessageTypes(items=[MessageType(type=name, description=webhooks.TYPES[name][1]) for name in told])


@routes.post(
    "/webhook-endpoints", scope=BOTH, summary="Be told of changes at an address", body=EndpointIn, answer=EndpointMade,
    status=201, tx=True,
)  # fmt: skip
async def add_endpoint(call: Call[EndpointIn, None]) -> EndpointMade:
    tenant, wanted = call.principal.tenant, call.body
    types = _known_types(call.principal.scope, wanted.types)
    made, secret = await webhooks.add_endpoint(call.tx, tenant, wanted.url, types, wanted.description)
    await audit.record(call.tx, call.principal.actor, "webhook.add", public_id("whe", made), {"tenant": tenant})
    return EndpointMade(**_shown(await _row(call, made)), secret=secret)


@routes.get("/webhook-endpoints", scope=BOTH, summary="This caller's endpoints", answer=Endpoints, tx=True)
async def list_endpoints(call: Call[None, None]) -> Endpoints:
    rows = await store.endpoints_of(call.tx, call.principal.tenant)
    return Endpoints(items=[Endpoint(**_shown(row)) for row in rows])


@routes.get("/webhook-endpoints/{id}", scope=BOTH, summary="One endpoint", answer=Endpoint, tx=True)
async def get_endpoint(call: Call[None, None]) -> Endpoint:
    return Endpoint(**_shown(await _row(call, _id(call))))


@routes.put("/webhook-endpoints/{id}", scope=BOTH, summary="Change, pause or resume an endpoint", body=EndpointChange,
            answer=Endpoint, tx=True)  # fmt: skip
async def change_endpoint(call: Call[EndpointChange, None]) -> Endpoint:
    endpoint_id, wanted = _id(call), call.body
    await _row(call, endpoint_id, lock=True)
    values: dict[str, Any] = {}
    if wanted.url is not None:
        values["url"] = webhooks.checked_url(wanted.url)
    if wanted.types is not None:
        values["types"] = _known_types(call.principal.scope, wanted.types)
    if wanted.description is not None:
        values["description"] = wanted.description
    if wanted.state is not None:
        values |= {"state": wanted.state, "reason": None}
    if wanted.state == "active" or wanted.url is not None:
        values |= {"failures": 0, "failing_since": None, "hold_until": None}
    if values:
        await store.change_endpoint(call.tx, endpoint_id, values)
        call.tx.wake(webhooks.SENDING)
        facts = {"changed": sorted(set(values) & set(EndpointChange.model_fields))}
        await audit.record(call.tx, call.principal.actor, "webhook.change", public_id("whe", endpoint_id), facts)
    return Endpoint(**_shown(await _row(call, endpoint_id)))


@routes.delete("/webhook-endpoints/{id}", scope=BOTH, summary="Remove an endpoint and what waits for it",
               answer=Endpoint, tx=True)  # fmt: skip
async def remove_endpoint(call: Call[None, None]) -> Endpoint:
    endpoint_id = _id(call)
    gone = Endpoint(**_shown(await _row(call, endpoint_id, lock=True)))
    await store.remove_endpoint(call.tx, call.principal.tenant, endpoint_id)
    await audit.record(call.tx, call.principal.actor, "webhook.remove", public_id("whe", endpoint_id), {})
    return gone


@routes.post("/webhook-endpoints/{id}/rotate", scope=BOTH, summary="A new secret; the old one signs on for a day",
             answer=Rotated, tx=True)  # fmt: skip
async def rotate(call: Call[None, None]) -> Rotated:
    endpoint_id = _id(call)
    secret, until = await webhooks.rotate(call.tx, call.principal.tenant, endpoint_id)
    await audit.record(call.tx, call.principal.actor, "webhook.rotate", public_id("whe", endpoint_id), {})
    return Rotated(secret=secret, old_until=until)


@routes.post("/webhook-endpoints/{id}/test", scope=BOTH, summary="Send a ping to one endpoint", answer=Pinged,
             status=202, tx=True)  # fmt: skip
async def ping(call: Call[None, None]) -> Pinged:
    endpoint_id = _id(call)
    if (await _row(call, endpoint_id))["state"] != "active":
        raise Conflict("the endpoint is not active; set its state first", code="not_active")
    sent = await webhooks.ping(call.tx, call.principal.tenant, endpoint_id)
    return Pinged(message_id=public_id("msg", sent))


@routes.post("/webhook-endpoints/{id}/replay", scope=BOTH, summary="Send messages again", body=ReplayIn,
             answer=Replayed, status=202, tx=True)  # fmt: skip
async def replay(call: Call[ReplayIn, None]) -> Replayed:
    endpoint_id, wanted, now = _id(call), call.body, call.tx.now
    oldest = now - timedelta(days=webhooks.KEPT_DAYS)
    until = wanted.until or now + timedelta(seconds=1)
    if until <= wanted.since:
        raise Rejected("`until` must be after `since`", code="bad_window", faults=(Fault("/until", "not after since"),))
    if until <= oldest:
        raise Rejected(
            f"messages are kept for {webhooks.KEPT_DAYS} days", code="too_old", faults=(Fault("/since", "too old"),)
        )
    await _row(call, endpoint_id, lock=True)
    most = webhooks.REPLAY_MOST
    tenant = call.principal.tenant
    queued = await store.replay(call.tx, tenant, endpoint_id, wanted.since, until, wanted.everything, most)
    call.tx.wake(webhooks.SENDING)
    facts = {"since": wanted.since.isoformat(), "until": until.isoformat(), "queued": queued}
    await audit.record(call.tx, call.principal.actor, "webhook.replay", public_id("whe", endpoint_id), facts)
    return Replayed(queued=queued, more=queued >= most)


@routes.get("/webhook-endpoints/{id}/deliveries", scope=BOTH, summary="Messages to one endpoint, newest first",
            query=SendingsQuery, answer=Sendings, tx=True)  # fmt: skip
async def deliveries(call: Call[None, SendingsQuery]) -> Sendings:
    endpoint_id, asked = _id(call), call.query
    await _row(call, endpoint_id)
    try:
        before = parse_uuid_id("msg", asked.after) if asked.after else None
    except ValueError as error:
        raise Rejected(
            "`after` is the `next` of an earlier page", code="bad_cursor", faults=(Fault("/after", str(error)),)
        ) from None
    state = STATES[asked.state] if asked.state else None
    rows = await store.sendings_of(call.tx, call.principal.tenant, endpoint_id, state, before, asked.limit)
    last = public_id("msg", rows[-1]["message_id"]) if len(rows) == asked.limit else None
    return Sendings(items=[_sending(row) for row in rows], next=last)


def _known_types(scope: str, wanted: list[str]) -> list[str]:
    known = webhooks.types_for(scope)
    faults = tuple(
        Fault(f"/types/{n}", f"not among {', '.join(known)}") for n, one in enumerate(wanted) if one not in known
    )
    if faults:
        raise Rejected("some message types do not exist for this caller", code="bad_types", faults=faults)
    return sorted(set(wanted))


def _id(call: Call[Any, Any]) -> uuid.UUID:
    try:
        return parse_uuid_id("whe", call.path["id"])
    except ValueError:
        raise webhooks.no_endpoint() from None


async def _row(call: Call[Any, Any], endpoint_id: uuid.UUID, *, lock: bool = False) -> asyncpg.Record:
    row = await store.endpoint_of(call.tx, call.principal.tenant, endpoint_id, lock=lock)
    if row is None:
        raise webhooks.no_endpoint()
    return row


def _shown(row: asyncpg.Record) -> dict[str, Any]:
    values = {name: row[name] for name in Endpoint.model_fields if name not in ("id", "retry_at")}
    return {**values, "id": public_id("whe", row["id"]), "retry_at": row["hold_until"]}


def _sending(row: asyncpg.Record) -> Sending:
    waiting = row["state"] == store.PENDING
    return Sending(
        message_id=public_id("msg", row["message_id"]),
        type=row["type"],
        created_at=row["created_at"],
        state=_NAMES[row["state"]],
        attempts=row["attempts"],
        tried_at=row["tried_at"],
        due_at=row["due_at"] if waiting else None,
        status=row["status"],
        error=row["error"],
    )
