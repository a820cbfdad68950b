"""What the contract kit needs to try the clinic connector: a clinic with fixed slots, an order, and what each recorded
exchange with a real FHIR R4 server must come out as."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import orjson

from connectors import base, manifest
from connectors.base import Adapter as AnyAdapter
from connectors.calling import OutOfStock
from connectors.contracts import BadRow, ListingIn, PurchaseOrder
from connectors.fhir_clinic import appointments as words
from connectors.fhir_clinic.resources import Prices, Service, bundle, etag_of, service_listing, slot_in
from connectors.fhir_clinic.sandbox import FhirSandbox
from connectors.kit import FixtureCheck, SystemKit, example_order
from connectors.sandbox_kit import Faults, Sandbox
from hub.kernel.errors import NotFound

_FIRST = datetime(2099, 3, 2, 1, 0, tzinfo=UTC)  # far ahead, so that the golden order never ages
_SEEN = datetime(2026, 11, 22, 7, 5, tzinfo=UTC)


class Kit(SystemKit):
    """The kit of FHIR clinics."""

    def sandbox(self, faults: Faults) -> Sandbox:
        """Thirty services in two cities; the first two have slots, some of them taken."""
        services = [
            {
                "id": f"svc-{n}",
                "name": f"体检套餐 {n}",
                "name_en": f"Check-up {n}",
                "price": f"{100 + n}.50",
                "city": "上海" if n % 2 else "北京",
                "department": "体检科",
                "category": "体检",
            }
            for n in range(1, 31)
        ]
        slots = [
            {
                "id": f"slot-{n}",
                "service": "svc-1" if n < 20 else "svc-2",
                "start": _FIRST + timedelta(minutes=30 * n),
                "end": _FIRST + timedelta(minutes=30 * n + 30),
                "status": "busy" if n % 5 == 0 else "free",
            }
            for n in range(1, 31)
        ]
        return FhirSandbox(services, slots, faults)

    def connection(self, sandbox: Sandbox) -> tuple[dict[str, Any], dict[str, str]]:
        """Pages of ten, so that the pull has several."""
        assert isinstance(sandbox, FhirSandbox)
        config, secrets = sandbox.connection()
        return {**config, "page_size": 10, "horizon_days": 40_000}, secrets

    def purchase_order(self) -> PurchaseOrder:
        """A free slot."""
        return _order("po_0190a5c2f00070008000000000000001", 3)

    def refused_order(self) -> PurchaseOrder:
        """A slot that is taken."""
        return _order("po_0190a5c2f00070008000000000000002", 5)

    def orders_at_vendor(self, sandbox: Sandbox, key: str) -> int:
        assert isinstance(sandbox, FhirSandbox)
        return sandbox.living(key)

    def held_slot(self, sandbox: Sandbox, slot_ref: str) -> bool:
        assert isinstance(sandbox, FhirSandbox)
        return bool(sandbox.slot(slot_ref.removeprefix("Slot/"))["status"] == "busy-tentative")

    def order_request(self, sandbox: Sandbox, key: str) -> Any:
        assert isinstance(sandbox, FhirSandbox)
        return next(r for r in sandbox.appointment_requests if any(i["value"] == key for i in r["identifier"]))

    def fixtures(self) -> Mapping[str, FixtureCheck]:
        """The recorded exchanges."""
        return {
            "metadata.json": lambda a, raw: _is(_body(raw)["fhirVersion"], "4.0.1"),
            "healthcareservice_search.json": _services,
            "slots_free.json": _free_slots,
            "slot_create.json": lambda a, raw: _slot(raw, free=True),
            "slot_book_first.json": _booked,
            "slot_book_second_stale.json": lambda a, raw: _fails(a, raw, OutOfStock),
            "slot_history.json": _history,
            "appointment_create.json": _appointment,
            "bad_param.json": lambda a, raw: _is(bundle(_body(raw), "Slot").resources, []),
            "batch.json": lambda a, raw: _is(_body(raw)["entry"][1]["response"]["status"], "404"),
            "missing.json": lambda a, raw: _fails(a, raw, NotFound),
        }


def _order(number: str, slot: int) -> PurchaseOrder:
    order = example_order(number, [("svc-1", 1, "101.50")])
    start = _FIRST + timedelta(minutes=30 * slot)
    times = {"slot_start": start, "slot_end": start + timedelta(minutes=30)}
    line = order.lines[0].model_copy(update={"slot_ref": f"Slot/slot-{slot}", "slot_version": 'W/"1"', **times})
    return order.model_copy(update={"lines": (line,)})


def _body(raw: bytes) -> Any:
    return orjson.loads(orjson.loads(raw)["response"]["body"])


def _is(found: Any, wanted: Any) -> None:
    assert found == wanted, f"{found!r} instead of {wanted!r}"


def _services(_adapter: AnyAdapter, raw: bytes) -> None:
    [service] = bundle(_body(raw), "HealthcareService").resources
    unpriced = service_listing(service, system=None, prices=Prices(), cities={})
    assert isinstance(unpriced, BadRow) and unpriced.vendor_sku == "example", "a price was invented"
    prices = Prices({"HS-12": {"price": "480.00", "currency": "EUR"}})
    listing = service_listing(service, system="http://example.org/shared-ids", prices=prices, cities={"1": "Den Burg"})
    assert isinstance(listing, ListingIn)
    _is((listing.vendor_sku, listing.price, listing.currency), ("HS-12", Decimal("480.00"), "EUR"))
    _is(listing.title, "Consulting psychologists and/or psychology services")
    _is((listing.kind, listing.mode, listing.city), ("service", "appointment", "Den Burg"))
    _is((listing.category, listing.department), ("Counselling", "Posttraumatic stress disorder"))


def _free_slots(_adapter: AnyAdapter, raw: bytes) -> None:
    [slot] = bundle(_body(raw), "Slot").resources
    made = slot_in(slot, Service("HS-12", None, None), _SEEN)
    _is((made.slot_ref, made.free, made.start), ("Slot/example", True, datetime(2013, 12, 25, 9, 15, tzinfo=UTC)))
    _is(made.version, 'W/"10d74da5-7d2c-443f-9b5a-956b5c3134cd"')


def _slot(raw: bytes, *, free: bool) -> None:
    recorded = orjson.loads(raw)["response"]
    slot = orjson.loads(recorded["body"])
    made = slot_in(slot, Service("HS-12", None, None), _SEEN)
    _is((made.free, made.start), (free, datetime(2026, 12, 1, 1, 0, tzinfo=UTC)))
    _is(etag_of(slot), recorded["headers"]["etag"])


def _booked(_adapter: AnyAdapter, raw: bytes) -> None:
    _slot(raw, free=False)
    request = orjson.loads(raw)["request"]
    _is(request["headers"]["If-Match"], etag_of(request["body"]))


def _history(_adapter: AnyAdapter, raw: bytes) -> None:
    now, before = bundle(_body(raw), "Slot").resources
    _is((now["status"], before["status"]), ("busy", "free"))


def _appointment(_adapter: AnyAdapter, raw: bytes) -> None:
    made = _body(raw)
    _is(words.slots_of(made), ["d421abb6-ea51-436d-9f1a-a6540305a194"])
    _is(words.belongs_to(made, "urn:supplyhub:purchase-order", "po_1"), False)


async def _fails(adapter: AnyAdapter, raw: bytes, kind: type[Exception]) -> None:
    recorded = orjson.loads(raw)

    def clinic(_request: httpx.Request) -> httpx.Response:
        answer = recorded["response"]
        return httpx.Response(
            answer["status"], headers={"Content-Type": "application/fhir+json"}, content=answer["body"]
        )

    http = httpx.AsyncClient(transport=httpx.MockTransport(clinic))
    folder = manifest.HOME / adapter.manifest.id
    made = base.build(folder, adapter.config, adapter.secrets, http, connection_id=f"fixture-{id(http)}")
    request = recorded["request"]
    try:
        if request["method"] == "GET":
            await made.call.get("Slot/does-not-exist")
        else:
            await made.call.send(request["method"], "Slot/any", request["body"], headers={"If-Match": 'W/"1"'})
    except kind:
        return
    finally:
        await made.aclose()
    raise AssertionError(f"{kind.__name__} was due")
