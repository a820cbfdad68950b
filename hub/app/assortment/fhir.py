"""The clinic group as a FHIR R4 server shows it: Location, HealthcareService, Schedule and Slot resources. R4 has no
price on a service, so it stands in an extension of ours (`PRICE_URL`, a valueMoney in whole yuan); the English name
stands in HL7's own translation extension on `_name`; how long an appointment takes is the length of its slots."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hub.app.assortment.items import fully_booked, services
from hub.app.assortment.model import SampleItem, authored, bilingual, draw
from hub.app.assortment.taxonomy import CLINIC, VENDORS

PRICE_URL = "https://supplyhub.example/fhir/StructureDefinition/service-price"
TRANSLATION_URL = "http://hl7.org/fhir/StructureDefinition/translation"
SKU_SYSTEM = "https://clinic.example/service-code"
DAYS = 14
SLOTS_EACH = 5
_ZONE = ZoneInfo("Asia/Shanghai")
_UPDATED = "2026-01-05T01:00:00.000Z"
_DAY_STEP = 3  # coprime to the thirteen bookable days: a service's slots fall on different days


def clinic_locations() -> list[dict[str, Any]]:
    """One Location per branch, with the city in its address."""
    found = []
    for branch in authored("services.yaml")["branches"]:
        city, area = bilingual(branch["city"])[0], bilingual(branch["area"])[0]
        found.append(
            {
                "resourceType": "Location",
                "id": branch["code"],
                "meta": {"versionId": "1", "lastUpdated": _UPDATED},
                "status": "active",
                "name": f"安禾{city}{area}门诊",
                "address": {"country": "CN", "city": city, "district": area, "text": f"{city}{area}"},
            }
        )
    return found


def clinic_services() -> list[dict[str, Any]]:
    """One HealthcareService per service and branch, priced in CNY."""
    return [_service(item) for item in services()]


def _service(item: SampleItem) -> dict[str, Any]:
    branch = _branch(item)
    return {
        "resourceType": "HealthcareService",
        "id": item.sku,
        "meta": {"versionId": "1", "lastUpdated": _UPDATED},
        "extension": [{"url": PRICE_URL, "valueMoney": {"value": int(item.price), "currency": "CNY"}}],
        "identifier": [{"system": SKU_SYSTEM, "value": item.sku}],
        "active": True,
        "providedBy": {"reference": "Organization/anhe", "display": VENDORS[CLINIC].name},
        "category": [{"text": item.category.name}],
        "type": [{"text": item.category.name_en}],
        "specialty": [{"text": item.department}],
        "location": [{"reference": f"Location/{branch}", "display": item.city}],
        "name": item.title,
        "_name": {
            "extension": [
                {
                    "url": TRANSLATION_URL,
                    "extension": [
                        {"url": "lang", "valueCode": "en"},
                        {"url": "content", "valueString": item.title_en},
                    ],
                }
            ]
        },
        "comment": item.description,
        "coverageArea": [{"reference": f"Location/{branch}", "display": item.city}],
        "appointmentRequired": True,
    }


def clinic_dirty_services() -> list[dict[str, Any]]:
    """Services that are wrong on purpose: no price, a price of zero, no name."""
    template = clinic_services()[0]
    no_price = {**template, "id": "DIRTY-PRICE-NONE", "name": "[样例坏数据] 没有价格", "extension": []}
    zero = {
        **template,
        "id": "DIRTY-PRICE-ZERO",
        "name": "[样例坏数据] 价格为零",
        "extension": [{"url": PRICE_URL, "valueMoney": {"value": 0, "currency": "CNY"}}],
    }
    no_name = {key: value for key, value in template.items() if key not in ("name", "_name", "type")}
    rows = [no_price, zero, {**no_name, "id": "DIRTY-TITLE"}]
    return [{**row, "identifier": [{"system": SKU_SYSTEM, "value": row["id"]}]} for row in rows]


def clinic_schedules(today: date) -> list[dict[str, Any]]:
    """One Schedule per service for the fourteen days from `today` (a date in China)."""
    start = datetime.combine(today, time(), _ZONE)
    return [
        {
            "resourceType": "Schedule",
            "id": f"sch-{item.sku}",
            "meta": {"versionId": "1", "lastUpdated": _UPDATED},
            "active": True,
            "serviceCategory": [{"text": item.category.name}],
            "serviceType": [{"text": item.category.name_en}],
            "specialty": [{"text": item.department}],
            "actor": [
                {"reference": f"HealthcareService/{item.sku}", "display": item.title},
                {"reference": f"Location/{_branch(item)}", "display": item.city},
            ],
            "planningHorizon": {"start": _instant(start), "end": _instant(start + timedelta(days=DAYS))},
        }
        for item in services()
    ]


def clinic_slots(today: date) -> list[dict[str, Any]]:
    """Five Slots per service on different days from tomorrow on, between 08:00 and 17:00 in China. Most are free; a few
    services have none left."""
    return [_slot(item, today, number) for item in services() for number in range(SLOTS_EACH)]


def _slot(item: SampleItem, today: date, number: int) -> dict[str, Any]:
    day = today + timedelta(days=1 + (draw(f"day:{item.sku}", DAYS - 1) + number * _DAY_STEP) % (DAYS - 1))
    minutes = item.minutes or 30
    latest = 17 * 60 - minutes
    begin = 8 * 60 + 30 * draw(f"hour:{item.sku}:{number}", (latest - 8 * 60) // 30 + 1)
    start = datetime.combine(day, time(begin // 60, begin % 60), _ZONE)
    taken = fully_booked(item.sku) or (number > 0 and draw(f"taken:{item.sku}:{number}", 6) == 0)
    return {
        "resourceType": "Slot",
        "id": f"{item.sku}-{number}",
        "meta": {"versionId": "1", "lastUpdated": _UPDATED},
        "serviceCategory": [{"text": item.category.name}],
        "serviceType": [{"text": item.category.name_en}],
        "specialty": [{"text": item.department}],
        "schedule": {"reference": f"Schedule/sch-{item.sku}"},
        "status": "busy" if taken else "free",
        "start": _instant(start),
        "end": _instant(start + timedelta(minutes=minutes)),
    }


def _branch(item: SampleItem) -> str:
    return item.sku.split("-")[1]


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
