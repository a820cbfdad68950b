"""How procurement staff bring a vendor's system to life over HTTP: pick a connector, draft a connection, test it, look
at its first rows, mend, go live; pause and change it later. Secrets go in and never come out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from connectors import api
from connectors.contracts import Capability, ConnectionView
from connectors.web import OfVendor, RowId, next_of, number_of
from hub.kernel import audit
from hub.kernel.types import Input, Name, SafeText, View
from hub.kernel.web import Call, Routes

routes = Routes("connections")

Secrets = dict[str, Annotated[SafeText, Field(max_length=10_000)]]
Every = Annotated[int, Field(ge=1, le=7 * 86400)]


class Connectors(View):
    """The vendor systems that the hub speaks to."""

    items: list[api.ConnectorInfo]


class NewConnection(Input):
    """A vendor's use of a connector. `config` and `secrets` are what the connector's manifest declares. A `draft` is
    pulled only once it goes live, so that it can be tested and looked at first."""

    vendor_id: RowId
    connector: Annotated[SafeText, Field(min_length=1, max_length=41)]
    name: Name
    role: Literal["supply", "reference"] = "supply"
    config: dict[str, Any] = Field(default_factory=dict)
    secrets: Secrets = Field(default_factory=dict)
    sync_every_s: Every = 900
    draft: bool = False


class ConnectionChange(Input):
    """What is to change. `config` is given as a whole; `secrets` one by one, an empty text removes one."""

    name: Name | None = None
    config: dict[str, Any] | None = None
    secrets: Secrets | None = None
    sync_every_s: Every | None = None


class ConnectionShown(View):
    """A connection without its secrets. `push_url` is where the vendor's webhooks go, if it pushes."""

    id: int
    vendor_id: int
    vendor: str
    connector: str
    name: str
    role: str
    status: str
    capabilities: list[str]
    sync_every_s: int
    last_complete_at: datetime | None
    push_url: str | None


class ConnectionDetail(ConnectionShown):
    """The same with its settings, the names of the secrets it has, and vendor fields and values that nobody mapped,
    with when each was first seen."""

    config: dict[str, Any]
    secrets: list[str]
    drift: dict[str, datetime]


class Connections(View):
    """A piece of the connections."""

    items: list[ConnectionShown]
    next: str | None


class Due(View):
    """The connection is due for a pull now."""

    connection_id: int
    due: bool = True


@routes.get("/connectors", scope="staff", summary="Vendor systems that the hub speaks to", answer=Connectors)
async def connectors(_call: Call[Any, Any]) -> Connectors:
    return Connectors(items=api.describe_all())


@routes.get("/connections", scope="staff", summary="List connections", query=OfVendor, answer=Connections, tx=True)
async def connections(call: Call[Any, OfVendor]) -> Connections:
    query = call.query
    views = await api.list_connections(call.tx, query.vendor_id, query.cursor or 0, query.limit + 1)
    shown = [ConnectionShown(**_shown(view)) for view in views]
    return Connections(items=shown[: query.limit], next=next_of(shown, query.limit))


@routes.post(
    "/connections",
    scope="staff",
    summary="Connect a vendor's system; unless it is a draft, its first pull is due at once",
    body=NewConnection,
    answer=ConnectionShown,
    status=201,
    tx=True,
)
async def add_connection(call: Call[NewConnection, Any]) -> ConnectionShown:
    wanted = call.body
    connection_id = await api.add_connection(
        call.tx,
        vendor_id=wanted.vendor_id,
        connector=wanted.connector,
        name=wanted.name,
        config=wanted.config,
        secrets=wanted.secrets,
        role=wanted.role,
        sync_every_s=wanted.sync_every_s,
        draft=wanted.draft,
    )
    facts = {"connector": wanted.connector, "name": wanted.name, "secrets": sorted(wanted.secrets)}
    await audit.record(call.tx, call.principal.actor, "connection.add", f"connection:{connection_id}", facts)
    return ConnectionShown(**_shown(await api.get_connection(call.tx, connection_id)))


@routes.get("/connections/{id}", scope="staff", summary="One connection", answer=ConnectionDetail, tx=True)
async def connection(call: Call[Any, Any]) -> ConnectionDetail:
    return await _detail(call, number_of(call.path["id"]))


@routes.add(
    "PATCH",
    "/connections/{id}",
    scope="staff",
    summary="Change a connection's name, settings, secrets or schedule",
    body=ConnectionChange,
    answer=ConnectionDetail,
    tx=True,
)
async def change(call: Call[ConnectionChange, Any]) -> ConnectionDetail:
    connection_id, wanted = number_of(call.path["id"]), call.body
    changed = await api.change_connection(
        call.tx, connection_id, name=wanted.name, config=wanted.config, secrets=wanted.secrets,
        sync_every_s=wanted.sync_every_s,
    )  # fmt: skip
    await audit.record(
        call.tx, call.principal.actor, "connection.change", f"connection:{connection_id}", {"changed": changed}
    )
    return await _detail(call, connection_id)


@routes.post(
    "/connections/{id}/test",
    scope="staff",
    summary="Ask the vendor's system step by step whether it answers, and say who can mend what does not work",
    answer=api.TrialResult,
)
async def test(call: Call[Any, Any]) -> api.TrialResult:
    return await api.try_connection(number_of(call.path["id"]))


@routes.post(
    "/connections/{id}/preview",
    scope="staff",
    summary="The first 20 rows as they came and as they would be mapped, problems first",
    answer=api.Preview,
)
async def preview(call: Call[Any, Any]) -> api.Preview:
    return await api.preview_connection(number_of(call.path["id"]))


@routes.post(
    "/connections/{id}/live",
    scope="staff",
    summary="Take a draft or a paused connection live; its next pull is due at once",
    answer=ConnectionShown,
    tx=True,
)
async def live(call: Call[Any, Any]) -> ConnectionShown:
    return await _turned(call, "live")


@routes.post(
    "/connections/{id}/pause",
    scope="staff",
    summary="Pause a connection: no pulls, and its offers leave the catalogue; orders under way go on",
    answer=ConnectionShown,
    tx=True,
)
async def pause(call: Call[Any, Any]) -> ConnectionShown:
    return await _turned(call, "paused")


@routes.post("/connections/{id}/sync", scope="staff", summary="Pull now", answer=Due, status=202, tx=True)
async def sync(call: Call[Any, Any]) -> Due:
    connection_id = number_of(call.path["id"])
    await api.sync_now(call.tx, connection_id)
    return Due(connection_id=connection_id)


async def _turned(call: Call[Any, Any], status: Literal["live", "paused"]) -> ConnectionShown:
    connection_id = number_of(call.path["id"])
    before = await api.get_connection(call.tx, connection_id)
    await api.set_status(call.tx, connection_id, status)
    facts = {"before": before.status, "after": status}
    await audit.record(call.tx, call.principal.actor, f"connection.{status}", f"connection:{connection_id}", facts)
    return ConnectionShown(**_shown(await api.get_connection(call.tx, connection_id)))


async def _detail(call: Call[Any, Any], connection_id: int) -> ConnectionDetail:
    view = await api.get_connection(call.tx, connection_id)
    config, secrets = await api.connection_settings(call.tx, connection_id)
    drift = {name: datetime.fromisoformat(at) for name, at in (await api.drift_of(call.tx, connection_id)).items()}
    return ConnectionDetail(**_shown(view), config=config, secrets=secrets, drift=drift)


def _shown(view: ConnectionView) -> dict[str, Any]:
    pushes = Capability.RECEIVES_PUSH in view.capabilities
    return {
        "id": view.id,
        "vendor_id": view.vendor_id,
        "vendor": view.vendor_name,
        "connector": view.connector,
        "name": view.name,
        "role": view.role,
        "status": view.status,
        "capabilities": sorted(view.capabilities),
        "sync_every_s": view.sync_every_s,
        "last_complete_at": view.last_complete_at,
        "push_url": f"/v1/push/{view.id}" if pushes else None,
    }
