"""A fresh look at a clinic: by city, department and day, in the place's own time; who gives a service, and where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from connectors import guards
from connectors.fhir_clinic.adapter import Adapter
from connectors.fhir_clinic.resources import TIMEZONE, human_name, titled
from connectors.fhir_clinic.rest import Capabilities, capabilities_in
from connectors.fhir_clinic.sandbox import FhirSandbox
from connectors.fhir_clinic.searching import Found
from connectors.kit_stage import reachable
from hub.kernel import clock
from hub.kernel.errors import Broken, Misconfigured
from tests.connectors.test_fhir_clinic import all_slots, pull, serving
from tests.connectors.test_fhir_clinic_booking import connect

CHINA = ZoneInfo("Asia/Shanghai")
DAY = (clock.now().astimezone(CHINA) + timedelta(days=3)).date()


def at(hour: int, minute: int = 0, zone: ZoneInfo = CHINA, days: int = 0) -> datetime:
    return datetime(DAY.year, DAY.month, DAY.day, hour, minute, tzinfo=zone) + timedelta(days=days)


def town() -> FhirSandbox:
    services = [
        {
            "id": "skin",
            "name": "皮肤科门诊",
            "name_en": "Dermatology",
            "price": "50",
            "city": "上海",
            "department": "皮肤科",
        },
        {"id": "teeth", "name": "洗牙", "price": "120", "city": "上海市", "department": "口腔科"},
        {"id": "north", "name": "皮肤镜", "price": "80", "city": "北京", "department": "皮肤科"},
    ]

    def slot(number: str, service: str, start: datetime, status: str = "free") -> dict[str, Any]:
        return {
            "id": number,
            "service": service,
            "start": start,
            "end": start + timedelta(minutes=30),
            "status": status,
        }

    return FhirSandbox(
        services,
        [
            slot("early", "skin", at(0, 15)),
            slot("noon", "skin", at(12)),
            slot("busy", "skin", at(13), "busy"),
            slot("late", "skin", at(23, 45)),
            slot("before", "skin", at(23, 45, days=-1)),
            slot("after", "skin", at(0, 15, days=1)),
            slot("tooth", "teeth", at(9)),
            slot("peking", "north", at(10)),
        ],
    )


@pytest.fixture
async def clinic() -> AsyncIterator[FhirSandbox]:
    sandbox = town()
    await sandbox.start()
    with reachable(sandbox):
        yield sandbox
    await sandbox.stop()
    guards.forget()


@pytest.fixture
async def client(clinic: FhirSandbox) -> AsyncIterator[Adapter]:
    made = connect(clinic)
    yield made
    await made.aclose()


def shown(found: list[Found]) -> dict[str, list[str]]:
    return {one.listing.vendor_sku: [slot.slot_ref.removeprefix("Slot/") for slot in one.slots] for one in found}


async def test_services_are_found_by_city_department_and_day(client: Adapter) -> None:
    assert shown(await client.search(city="上海", department="皮肤", day=DAY)) == {"skin": ["early", "noon", "late"]}
    assert shown(await client.search(city="上海", day=DAY)) == {"skin": ["early", "noon", "late"], "teeth": ["tooth"]}
    assert shown(await client.search(department="皮肤科", day=DAY)).keys() == {"skin", "north"}
    everything = shown(await client.search())
    assert everything["skin"] == ["before", "early", "noon", "late", "after"] and len(everything) == 3
    assert shown(await client.search(city="上海", department="皮肤科", day=DAY, days=2))["skin"][-1] == "after"
    assert await client.search(city="成都") == []


async def test_a_department_may_be_asked_for_by_code(clinic: FhirSandbox, client: Adapter) -> None:
    coded = [{"coding": [{"system": "http://snomed.info/sct", "code": "394582007", "display": "Dermatology"}]}]
    clinic.change("HealthcareService", "north", specialty=coded)
    assert shown(await client.search(department="http://snomed.info/sct|394582007")) == {"north": ["peking"]}
    assert shown(await client.search(department="dermatology")) == {"north": ["peking"]}


async def test_a_day_is_the_places_own_day(clinic: FhirSandbox, client: Adapter) -> None:
    """A branch in Urumqi's winter time, or abroad: its Location says its zone."""
    [place] = [x["id"] for x in clinic._store["Location"].values() if x["address"]["city"] == "上海"]
    clinic.change("Location", place, extension=[{"url": TIMEZONE, "valueCode": "Europe/Berlin"}])
    found = await client.search(city="上海", department="皮肤科", day=DAY)
    assert found[0].zone.key == "Europe/Berlin"
    assert shown(found) == {"skin": ["noon", "late", "after"]}  # 05:00, 16:45 and 17:15 there
    clinic.change("Location", place, extension=[{"url": TIMEZONE, "valueCode": "Mars/Olympus"}])
    assert shown(await client.search(department="皮肤科", city="上海", day=DAY))["skin"] == ["early", "noon", "late"]


async def test_a_zone_that_is_none_is_misconfigured(clinic: FhirSandbox) -> None:
    lost = connect(clinic, time_zone="Shanghai time")
    with pytest.raises(Misconfigured, match="Asia/Shanghai"):
        await lost.search(day=DAY)
    await lost.aclose()


async def test_what_is_taken_or_held_is_not_found(client: Adapter) -> None:
    await client.hold("Slot/noon", "po_1", clock.now() + timedelta(minutes=15))
    assert shown(await client.search(city="上海", department="皮肤科", day=DAY)) == {"skin": ["early", "late"]}


@pytest.mark.parametrize("unknown", [("schedule",), ("start",), ("schedule", "start")])
async def test_parameters_that_the_server_does_not_know_hide_nothing(unknown: tuple[str, ...]) -> None:
    sandbox = town()
    sandbox._unknown = frozenset(unknown)
    async with serving(sandbox):
        client = connect(sandbox)
        assert shown(await client.search(city="上海", department="皮肤科", day=DAY)) == {
            "skin": ["early", "noon", "late"]
        }
        await client.aclose()


async def test_who_gives_a_service_stands_in_its_title(clinic: FhirSandbox) -> None:
    own = {"reference": "HealthcareService/skin"}
    clinic.change("Schedule", "for-skin", actor=[own, {"reference": "Practitioner/p1", "display": "张敏医生"}])
    pages = await pull(clinic)
    [skin] = [x for page in pages for x in page.listings if x.vendor_sku == "skin"]
    assert (skin.title, skin.title_en) == ("皮肤科门诊（张敏医生）", "Dermatology (张敏医生)")
    assert skin.attributes["practitioners"] == "张敏医生" and skin.attributes["location"] == "上海"
    for titles, wanted in (("name", "皮肤科门诊"), ("practitioner_location", "皮肤科门诊（张敏医生、上海）")):
        pages = await pull(clinic, titles=titles)
        assert next(x.title for page in pages for x in page.listings if x.vendor_sku == "skin") == wanted


async def test_people_without_a_name_in_the_schedule_are_looked_up(clinic: FhirSandbox) -> None:
    actors = [{"reference": f"HealthcareService/{n}"} for n in ("skin", "north")]
    clinic.change("Schedule", "for-skin", actor=[actors[0], {"reference": "PractitionerRole/r1"}])
    clinic.change("Schedule", "for-north", actor=[actors[1], {"reference": "Practitioner/p2"}])
    clinic.keep(
        {"resourceType": "PractitionerRole", "id": "r1", "practitioner": {"reference": "Practitioner/p1"}},
        {"resourceType": "Practitioner", "id": "p1", "name": [{"family": "欧阳", "given": ["娜"]}]},
        {"resourceType": "Practitioner", "id": "p2", "name": [{"family": "Careful", "given": ["Adam"]}]},
    )
    titles = {x.vendor_sku: x.title for page in await pull(clinic) for x in page.listings}
    assert (titles["skin"], titles["north"]) == ("皮肤科门诊（欧阳娜）", "皮肤镜（Adam Careful）")


async def test_a_clinic_that_hides_its_people_is_pulled_without_them(clinic: FhirSandbox) -> None:
    actors = [{"reference": "HealthcareService/skin"}, {"reference": "Practitioner/p1"}]
    clinic.change("Schedule", "for-skin", actor=actors)
    del clinic._store["Practitioner"]  # any search for them now answers 404
    clinic._kind = lambda request: k if (k := request.match_info["kind"]) in clinic._store else None  # type: ignore[method-assign]
    titles = {x.vendor_sku: x.title for page in await pull(clinic) for x in page.listings}
    assert titles["skin"] == "皮肤科门诊"


async def test_a_shared_schedule_is_untangled_by_what_its_slots_say(clinic: FhirSandbox) -> None:
    both = [{"reference": "HealthcareService/skin"}, {"reference": "HealthcareService/north"}]
    clinic.change("Schedule", "for-skin", actor=both)
    clinic.change("HealthcareService", "north", type=[{"coding": [{"code": "dermoscopy"}]}], specialty=[])
    clinic.change("Slot", "noon", serviceType=[{"coding": [{"code": "dermoscopy"}]}])
    slots = all_slots(await pull(clinic))
    assert slots["Slot/noon"].vendor_sku == "north" and "Slot/early" not in slots  # it does not say


async def test_a_server_without_links_is_read_by_offset_to_its_end() -> None:
    sandbox = town()
    sandbox.links = False
    async with serving(sandbox):
        pages = await pull(sandbox, page_size=3)
        assert len(all_slots(pages)) == 8 and [page.complete for page in pages].count(True) == 1
        resumed = await pull(sandbox, next(page.cursor for page in pages if page.slots), page_size=3)
        assert len(all_slots(resumed)) == 8 and resumed[-1].complete


async def test_rows_that_were_announced_and_never_come_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox = town()
    sandbox.links = False
    sandbox.faults.repeat_page = True  # it ignores `_offset`
    async with serving(sandbox):
        with pytest.raises(Broken) as broken:
            await pull(sandbox, page_size=3)
    assert broken.value.code == "rows_missing"


def test_a_capability_statement_is_read_for_what_matters() -> None:
    own = "http://clinic.example/fhir/OperationDefinition/Appointment-t-hold"
    body = {
        "resourceType": "CapabilityStatement",
        "fhirVersion": "4.0.1",
        "rest": [
            {"mode": "client", "resource": [{"type": "Patient"}]},
            {
                "mode": "server",
                "resource": [
                    {"type": "Slot"},
                    {"type": "Appointment", "operation": [{"name": "$hold", "definition": own}, {"name": "book"}]},
                ],
            },
        ],
    }
    read = capabilities_in(body)
    assert (read.version, read.types) == ("4.0.1", {"Slot", "Appointment"})
    assert read.operations == {("Appointment", "hold"), ("Appointment", "book")}
    assert read.offers("Slot") and not read.offers("InventoryReport")
    bare = capabilities_in({"resourceType": "CapabilityStatement", "rest": [{"mode": "server"}]})
    assert bare.types is None and bare.offers("Slot")  # it lists nothing: it may have anything
    assert capabilities_in({"resourceType": "OperationOutcome"}) == Capabilities() == capabilities_in([])


def test_titles_stay_short_and_say_nothing_twice() -> None:
    assert titled("张敏医生门诊", ["张敏医生"]) == "张敏医生门诊"
    assert titled("体检", ["a", "b", "c", "d"]) == "体检"
    assert titled("", ["张敏"]) == ""
    assert human_name({"name": [{"text": " 王 芳 "}]}) == "王 芳"
    assert human_name({"name": [{"given": ["Adam"], "family": "Careful"}]}) == "Adam Careful"
    assert human_name({"name": [{}]}) is None and human_name({}) is None
