"""Pulling a clinic: services with a price somebody said, slots that are certain, and nothing skipped."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connectors import base, guards, manifest
from connectors.contracts import BadRow, ListingIn, Page, SlotIn
from connectors.fhir_clinic.adapter import Adapter
from connectors.fhir_clinic.appointments import slots_of
from connectors.fhir_clinic.resources import Prices, Service, bundle, service_listing, services_of, slot_in
from connectors.fhir_clinic.sandbox import FhirSandbox
from connectors.kit_stage import reachable
from hub.kernel import clock
from hub.kernel.errors import Broken


def clinic_of(count: int = 6, **how: Any) -> FhirSandbox:
    soon = clock.now().replace(microsecond=0) + timedelta(days=1)
    services = [
        {
            "id": "a",
            "name": "入职体检",
            "name_en": "Check-up",
            "price": "398.50",
            "city": "上海",
            "department": "体检科",
        },
        {"id": "b", "name": "洗牙", "price": "120.00", "city": "北京", "category": "口腔"},
    ]

    def one(n: int) -> dict[str, Any]:
        start = soon + timedelta(hours=n)
        return {"id": f"s{n}", "service": "a" if n % 2 else "b", "start": start, "end": start + timedelta(hours=1)}

    return FhirSandbox(services, [one(n) for n in range(1, count + 1)], **how)


@pytest.fixture
async def clinic() -> AsyncIterator[FhirSandbox]:
    sandbox = clinic_of()
    async with serving(sandbox):
        yield sandbox


class serving:
    """A started sandbox that the egress guard lets us reach."""

    def __init__(self, sandbox: FhirSandbox) -> None:
        self.sandbox = sandbox

    async def __aenter__(self) -> FhirSandbox:
        await self.sandbox.start()
        self.door = reachable(self.sandbox)
        self.door.__enter__()
        return self.sandbox

    async def __aexit__(self, *_: object) -> None:
        self.door.__exit__(None, None, None)
        await self.sandbox.stop()
        guards.forget()


async def pull(clinic: FhirSandbox, since: dict[str, Any] | None = None, **settings: Any) -> list[Page]:
    config, secrets = clinic.connection()
    hidden = {name: SecretStr(value) for name, value in secrets.items()}
    made = base.build(manifest.HOME / "fhir_clinic", {**config, **settings}, hidden, connection_id=f"t{id(clinic)}")
    assert isinstance(made, Adapter)
    try:
        return [page async for page in made.pull(since)]
    finally:
        await made.aclose()


def all_slots(pages: list[Page]) -> dict[str, SlotIn]:
    return {slot.slot_ref: slot for page in pages for slot in page.slots}


def all_bad(pages: list[Page]) -> list[str]:
    return [bad.reason for page in pages for bad in page.bad]


async def test_services_become_listings_and_slots_hang_on_them(clinic: FhirSandbox) -> None:
    pages = await pull(clinic)
    check, teeth = [listing for page in pages for listing in page.listings]
    assert (check.vendor_sku, check.title, check.title_en) == ("a", "入职体检", "Check-up")
    assert (check.price, check.currency, check.city, check.department) == (Decimal("398.5"), "CNY", "上海", "体检科")
    assert (check.kind, check.mode, teeth.category) == ("service", "appointment", "口腔")
    assert check.on_hand is None and check.level is None  # the slots are the stock
    slots = all_slots(pages)
    assert len(slots) == 6 and slots["Slot/s1"].vendor_sku == "a" and slots["Slot/s2"].vendor_sku == "b"
    assert slots["Slot/s1"].free and slots["Slot/s1"].version == 'W/"1"' and slots["Slot/s1"].city == "上海"
    assert pages[-1].complete and not any(page.complete for page in pages[:-1])


async def test_a_service_nobody_priced_is_quarantined_and_so_are_its_slots(clinic: FhirSandbox) -> None:
    pages = await pull(clinic, price_extension="urn:other", prices={"a": "10.00"})
    assert [x.vendor_sku for page in pages for x in page.listings] == ["a"]
    assert any("nobody says a price" in reason for reason in all_bad(pages))
    assert any("Schedule/for-b" in reason for reason in all_bad(pages))
    assert {slot.vendor_sku for slot in all_slots(pages).values()} == {"a"}


async def test_every_status_but_free_closes_the_slot_and_an_unknown_one_is_reported(clinic: FhirSandbox) -> None:
    for n, status in enumerate(("busy", "busy-unavailable", "busy-tentative", "entered-in-error", "mystery"), 1):
        clinic.change("Slot", f"s{n}", status=status)
    pages = await pull(clinic)
    assert {ref for ref, slot in all_slots(pages).items() if slot.free} == {"Slot/s6"}
    assert len(all_slots(pages)) == 6
    assert all_bad(pages) == ["the slot's status 'mystery' is not known; it is kept closed"]
    assert pages[-1].drift == ("Slot.status=mystery",)


async def test_past_slots_and_those_beyond_the_horizon_stay_out(clinic: FhirSandbox) -> None:
    now = clock.now()
    clinic.add_slot({"id": "past", "service": "a", "start": now - timedelta(hours=3), "end": now - timedelta(hours=2)})
    clinic.add_slot({"id": "far", "service": "a", "start": now + timedelta(days=90), "end": now + timedelta(days=91)})
    assert not {"Slot/past", "Slot/far"} & set(all_slots(await pull(clinic)))
    assert "Slot/far" in all_slots(await pull(clinic, horizon_days=365))


async def test_a_schedule_without_a_service_is_reported_once_and_may_be_declared(clinic: FhirSandbox) -> None:
    clinic.change("Schedule", "for-b", actor=[{"reference": "Location/1"}])
    pages = await pull(clinic)
    [reason] = all_bad(pages)
    assert "Schedule/for-b" in reason and len(all_slots(pages)) == 3
    assert len(all_slots(await pull(clinic, schedules={"for-b": "b"}))) == 6


async def test_a_schedule_of_two_services_is_never_sold_twice(clinic: FhirSandbox) -> None:
    both = [{"reference": "HealthcareService/a"}, {"reference": "HealthcareService/b"}]
    clinic.change("Schedule", "for-b", actor=both)
    pages = await pull(clinic)
    assert len(all_slots(pages)) == 3 and "several services" in all_bad(pages)[0]


async def test_a_schedule_out_of_use_closes_its_slots(clinic: FhirSandbox) -> None:
    clinic.change("Schedule", "for-b", active=False)
    assert {slot.vendor_sku for slot in all_slots(await pull(clinic)).values() if slot.free} == {"a"}


async def test_an_incremental_pull_brings_what_changed(clinic: FhirSandbox) -> None:
    stale = (clock.now() - timedelta(hours=2)).isoformat()
    for slot in clinic._store["Slot"].values():
        slot["meta"]["lastUpdated"] = stale
    clinic.change("Slot", "s3", status="busy")
    pages = await pull(clinic, {"since": clock.now().isoformat()})
    assert list(all_slots(pages)) == ["Slot/s3"] and not all_slots(pages)["Slot/s3"].free
    assert pages[-1].complete


@pytest.mark.parametrize("unknown", ["_lastUpdated", "start"])
async def test_a_filter_the_server_does_not_know_never_hides_slots(unknown: str) -> None:
    async with serving(clinic_of(unknown=[unknown, "start"])) as clinic:
        assert len(all_slots(await pull(clinic))) == 6
        assert len(all_slots(await pull(clinic, {"since": clock.now().isoformat()}))) == 6


async def test_a_search_the_server_forgot_is_asked_again() -> None:
    async with serving(clinic_of(12)) as clinic:
        whole = await pull(clinic, page_size=5)
        middle = next(page for page in whole if page.slots)
        clinic.forget_searches = True
        clinic._max_count, cursor = 1000, json.loads(json.dumps(middle.cursor))
        rest = await pull(clinic, cursor, page_size=50)
        assert len(all_slots(rest)) == 12 and rest[-1].complete


async def test_a_repeated_page_and_missing_rows_are_broken() -> None:
    for fault, code in (("repeat_page", "page_repeated"), ("drop_page", "rows_missing")):
        sandbox = clinic_of(12)
        setattr(sandbox.faults, fault, 2)
        async with serving(sandbox) as clinic:
            with pytest.raises(Broken) as broken:
                await pull(clinic, page_size=4)
            assert broken.value.code == code


async def test_a_page_link_to_another_server_does_not_get_our_token(monkeypatch: pytest.MonkeyPatch) -> None:
    clinic = clinic_of()

    async def leading_away(request: Any) -> Any:
        from aiohttp import web

        link = [{"relation": "next", "url": "http://evil.example/fhir/Location?page=2"}]
        return web.json_response({"resourceType": "Bundle", "link": link})

    monkeypatch.setattr(clinic, "_search", leading_away)
    async with serving(clinic):
        with pytest.raises(Broken) as broken:
            await pull(clinic)
    assert broken.value.code == "foreign_link"


@pytest.mark.parametrize("body", [[], {}, {"resourceType": "OperationOutcome"}, "x", None])
def test_an_answer_that_is_no_bundle_is_broken(body: Any) -> None:
    with pytest.raises(Broken):
        bundle(body, "Slot")


@pytest.mark.parametrize(
    "times",
    [
        {"start": "2026-12-01T09:00:00", "end": "2026-12-01T09:15:00Z"},
        {"start": "soon", "end": "2026-12-01T09:15:00Z"},
        {"start": "2026-12-01T09:15:00Z", "end": "2026-12-01T09:15:00Z"},
        {"end": "2026-12-01T09:15:00Z"},
    ],
)
def test_a_slot_without_certain_times_is_refused(times: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"time zone|instant|ends before"):
        slot_in({"id": "1", "status": "free", **times}, Service("a", None, None), datetime(2026, 11, 22, tzinfo=UTC))


@pytest.mark.parametrize("price", ["0", "-5", "NaN", "free", True, "1e20", None])
def test_a_senseless_price_is_quarantined(price: Any) -> None:
    service = {"resourceType": "HealthcareService", "id": "a", "name": "x"}
    made = service_listing(service, system=None, prices=Prices({"a": {"price": price}}), cities={})
    assert isinstance(made, BadRow) and made.vendor_sku == "a" and made.pointer == "/price"


@pytest.mark.realdata
def test_hl7s_own_examples_are_understood(realdata: Path) -> None:
    def example(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((realdata / "fhir" / f"{name}-example.json").read_text())
        return found

    made = service_listing(
        example("healthcareservice"),
        system="http://example.org/shared-ids",
        prices=Prices({"HS-12": 250}),
        cities={"1": "Den Burg"},
    )
    assert isinstance(made, ListingIn)
    assert (made.vendor_sku, made.price, made.city) == ("HS-12", Decimal(250), "Den Burg")
    assert made.attributes["provided_by"] == "Burgers University Medical Center"
    slot = slot_in(example("slot"), Service("HS-12", None, None), datetime(2026, 11, 22, tzinfo=UTC))
    assert slot.free and slot.version is None and slot.start == datetime(2013, 12, 25, 9, 15, tzinfo=UTC)
    assert services_of(example("schedule"), {}) == []  # its actor is a place: nothing is guessed
    assert services_of(example("schedule"), {"example": "HealthcareService/example"}) == ["example"]
    assert slots_of(example("appointment")) == []
