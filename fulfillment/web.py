"""Fulfilment over HTTP: vendors ship, malls follow their orders, carriers' events come in, and the two figures that a
mall is bought on are read by staff (all), malls (their own) and vendors (their own)."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Annotated, Any

import asyncpg
from pydantic import Field, ValidationError, model_validator

from fulfillment import api, shipping, store, tracking
from fulfillment.contracts import (
    Delivery72h,
    EventResult,
    LineProgress,
    OrderShipments,
    ParcelEventView,
    ParcelLineView,
    ParcelView,
    ShipmentView,
    StockoutFigure,
    TrackingEventIn,
)
from fulfillment.shipping import ShipIn
from hub.kernel.db import Tx
from hub.kernel.errors import NotFound
from hub.kernel.types import Input, Instant, Json, View, parse_uuid_id, public_id
from hub.kernel.web import Call, Routes, faults_of
from orders import api as orders

routes = Routes("fulfillment")

Tenant = Annotated[int, Field(ge=1, le=2**62)]
_WINDOW = timedelta(days=30)


class TrackingEvents(Input):
    """Events about parcels. Each is judged by itself: one that cannot be read does not stop the others."""

    events: Annotated[list[TrackingEventIn | Json], Field(min_length=1, max_length=5_000)]


class EventResults(View):
    """One result per event, in order."""

    results: list[EventResult]


class FigureQuery(Input):
    """Whose lines, ordered when. Malls and vendors always see only their own."""

    mall: Tenant | None = None
    vendor: Tenant | None = None
    since: Annotated[Instant | None, Field(alias="from", description="order time from, inclusive")] = None
    until: Annotated[Instant | None, Field(alias="to", description="order time to, exclusive")] = None

    @model_validator(mode="after")
    def _forward(self) -> FigureQuery:
        if self.since is not None and self.until is not None and self.since > self.until:
            raise ValueError("from must not be after to")
        return self


@routes.post("/vendor/orders/{po}/ship", scope="vendor", summary="Ship a purchase order in parcels", body=ShipIn,
             answer=ShipmentView, tx=True)  # fmt: skip
async def ship(call: Call[ShipIn, None]) -> ShipmentView:
    try:
        po_id = parse_uuid_id("po", call.path["po"])
    except ValueError as error:
        raise NotFound("there is no such purchase order", code="no_purchase_order") from error
    order_id = await shipping.ship(call.tx, call.vendor_id, po_id, call.body.parcels)
    name = public_id("po", po_id)
    return next(s for s in await _shipments(call.tx, order_id) if s.purchase_order == name)


@routes.get("/orders/{id}/shipments", scope="mall", summary="Parcels of an order and what has arrived",
            answer=OrderShipments, tx=True)  # fmt: skip
async def order_shipments(call: Call[None, None]) -> OrderShipments:
    try:
        order_id = parse_uuid_id("ord", call.path["id"])
    except ValueError as error:
        raise NotFound("there is no such order", code="no_order") from error
    facts = await orders.line_facts(call.tx, order_id=order_id)
    if not facts or facts[0].mall_id != call.mall_id:
        raise NotFound("there is no such order that was placed", code="no_order")
    started = {row["line_id"]: dict(row) for row in await store.clocks_of(call.tx, order_id)}
    fresh = {"delivered_units": 0, "delivered_at": None, "cancelled_by": None}
    progress = [LineProgress(**started.get(line.line_id, dict(line) | fresh)) for line in facts]
    return OrderShipments(
        order_id=public_id("ord", order_id), shipments=await _shipments(call.tx, order_id), lines=progress
    )


@routes.post("/tracking-events", scope="staff", summary="Carriers' events about parcels", body=TrackingEvents,
             answer=EventResults, tx=True)  # fmt: skip
async def tracking_events(call: Call[TrackingEvents, None]) -> EventResults:
    read: list[tuple[int, TrackingEventIn]] = []
    results: list[EventResult] = []
    for index, given in enumerate(call.body.events):
        try:
            event = given if isinstance(given, TrackingEventIn) else TrackingEventIn.model_validate(given)
            read.append((index, event))
        except ValidationError as error:
            first = faults_of(error)[0]
            results.append(EventResult(index=index, result="invalid", detail=f"{first.pointer}: {first.detail}"))
    for (index, _event), result in zip(
        read, await tracking.record_events(call.tx, [event for _, event in read]), strict=True
    ):
        results.append(result.model_copy(update={"index": index}))
    return EventResults(results=sorted(results, key=lambda result: result.index))


@routes.get("/metrics/delivery-72h", scope=["staff", "mall", "vendor"], summary="Lines delivered within 72 hours",
            query=FigureQuery, answer=Delivery72h, tx=True)  # fmt: skip
async def delivery_72h(call: Call[None, FigureQuery]) -> Delivery72h:
    mall_id, vendor_id = _whose(call)
    return await api.delivery_72h(call.tx, _window(call), call.tx.now, mall_id, vendor_id)


@routes.get("/metrics/stockouts", scope=["staff", "mall", "vendor"], summary="Lines out of stock at a vendor",
            query=FigureQuery, answer=StockoutFigure, tx=True)  # fmt: skip
async def stockout_figure(call: Call[None, FigureQuery]) -> StockoutFigure:
    mall_id, vendor_id = _whose(call)
    return await api.stockout_figure(call.tx, _window(call), call.tx.now, mall_id, vendor_id)


def _whose(call: Call[Any, FigureQuery]) -> tuple[int | None, int | None]:
    mall_id, vendor_id = call.query.mall, call.query.vendor
    if call.principal.scope == "mall":
        if mall_id not in (None, call.mall_id):
            raise NotFound("there is no such mall", code="no_mall")
        mall_id = call.mall_id
    elif call.principal.scope == "vendor":
        if vendor_id not in (None, call.vendor_id):
            raise NotFound("there is no such vendor", code="no_vendor")
        vendor_id = call.vendor_id
    return mall_id, vendor_id


def _window(call: Call[Any, FigureQuery]) -> tuple[datetime, datetime]:
    until = call.query.until or call.tx.now
    return call.query.since or until - _WINDOW, until


async def _shipments(tx: Tx, order_id: uuid.UUID) -> list[ShipmentView]:
    parcels = await store.parcels_of(tx, [order_id])
    events: dict[int, list[asyncpg.Record]] = {parcel["id"]: [] for parcel in parcels}
    for row in await store.events_of(tx, list(events)):
        events[row["parcel_id"]].append(row)
    return [
        ShipmentView(
            purchase_order=public_id("po", shipment["po_id"]),
            accepted_at=shipment["accepted_at"],
            vendor_status=shipment["vendor_status"],
            parcels=[_parcel(p, events[p["id"]]) for p in parcels if p["po_id"] == shipment["po_id"]],
        )
        for shipment in await store.shipments_of(tx, [order_id])
    ]


def _parcel(row: asyncpg.Record, events: list[asyncpg.Record]) -> ParcelView:
    return ParcelView(
        carrier=row["carrier"],
        tracking_no=row["tracking_no"],
        status=row["status"],
        vendor_status=row["vendor_status"],
        delivered_at=row["delivered_at"],
        lines=[ParcelLineView(line_no=line_no, quantity=quantity) for _id, line_no, quantity in row["lines"]],
        events=[ParcelEventView(**dict(event)) for event in events],
    )
