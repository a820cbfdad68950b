"""FHIR R4 resources in our words. Pure: bundles, services, schedules, slots and appointments are read here; nothing
is asked of a server and no clock is read. What a server leaves out stays out; an unknown code is never healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from connectors.contracts import BadRow, ListingIn, SlotIn
from connectors.mapping import bad_row
from hub.kernel.errors import Broken

FREE = "free"
TAKEN = frozenset({"busy", "busy-unavailable", "busy-tentative", "entered-in-error"})
MOST_IN_TITLE = 3  # a service that more people give is not named after them
PEOPLE = ("Practitioner", "PractitionerRole")
TIMEZONE = "http://hl7.org/fhir/StructureDefinition/timezone"
TRANSLATION = "http://hl7.org/fhir/StructureDefinition/translation"
_SERVICE_FIELDS = frozenset(
    (
        "resourceType", "id", "meta", "implicitRules", "language", "text", "contained", "extension",
        "modifierExtension", "identifier", "active", "providedBy", "category", "type", "specialty", "location", "name",
        "comment", "extraDetails", "photo", "telecom", "coverageArea", "serviceProvisionCode", "eligibility", "program",
        "characteristic", "communication", "referralMethod", "appointmentRequired", "availableTime", "notAvailable",
        "availabilityExceptions", "endpoint",
    )
)  # fmt: skip
Resource = dict[str, Any]


@dataclass(frozen=True)
class Bundle:
    """One page of a search: the matches, and where the next page is."""

    resources: list[Resource]
    next: str | None
    total: int | None = None  # matches in all, when the server says
    more: bool = False  # the server has more of them and gave no link

    @property
    def last(self) -> bool:
        return self.next is None and not self.more


def bundle(body: Any, wanted: str) -> Bundle:
    """The resources of type `wanted` in a search's answer. Raises Broken for anything but a searchset."""
    if not isinstance(body, dict) or body.get("resourceType") != "Bundle":
        what = body.get("resourceType", "an object") if isinstance(body, dict) else type(body).__name__
        raise Broken(f"the search for {wanted} answered {str(what)[:60]}, not a Bundle", code="not_a_bundle")
    found: list[Resource] = []
    for entry in _list(body.get("entry")):
        resource = entry.get("resource")
        mode = (entry.get("search") or {}).get("mode", "match")
        if isinstance(resource, dict) and mode == "match" and resource.get("resourceType") == wanted:
            if not isinstance(resource.get("id"), str):
                raise Broken(f"a {wanted} in the answer has no id", code="no_id")
            found.append(resource)
    following = [link.get("url") for link in _list(body.get("link")) if link.get("relation") == "next"]
    total = body.get("total")
    return Bundle(
        found, str(following[0]) if following and following[0] else None, total if type(total) is int else None
    )


@dataclass
class Prices:
    """Where a service's price comes from: its extension, else the connection's table."""

    table: Mapping[str, Any] = field(default_factory=dict)
    extension: str | None = None
    currency: str = "CNY"

    def of(self, service: Resource, sku: str) -> tuple[Any, str]:
        """(amount, currency). Raises ValueError when nobody says a price."""
        for extension in _list(service.get("extension")):
            if self.extension and extension.get("url") == self.extension:
                money = extension.get("valueMoney") or {"value": extension.get("valueDecimal")}
                if money.get("value") is not None:
                    return _digits(money["value"]), str(money.get("currency") or self.currency)
        entry = self.table.get(sku)
        if isinstance(entry, dict):
            return _digits(entry.get("price")), str(entry.get("currency") or self.currency)
        if entry is None:
            raise ValueError("nobody says a price: put one into the connection's `prices`")
        return _digits(entry), self.currency


@dataclass(frozen=True)
class Service:
    """What slots must know of their service."""

    sku: str
    city: str | None
    department: str | None
    kinds: frozenset[str] = frozenset()  # codes and words of its type and specialty


def sku_of(service: Resource, system: str | None) -> str | None:
    """The identifier of `system`, or the resource's id when no system is configured."""
    if not system:
        return str(service["id"])
    for identifier in _list(service.get("identifier")):
        if identifier.get("system") == system and identifier.get("value"):
            return str(identifier["value"])
    return None


def service_listing(
    service: Resource,
    *,
    system: str | None,
    prices: Prices,
    cities: Mapping[str, str],
    kind: str = "service",
    city: str | None = None,
    people: Sequence[str] = (),
    places: Sequence[str] = (),
    titles: str = "practitioner",
) -> ListingIn | BadRow:
    """The listing of a HealthcareService, or why there is none. `people` give it, at `places`; `titles` says which of
    them stand in the title."""
    sku = sku_of(service, system)
    if sku is None:
        return bad_row(service, f"the service has no identifier of the system {system}", "/identifier")
    title = _text(service.get("name")) or _concept(service.get("type")) or ""
    shown = [*(people if "practitioner" in titles else ()), *(places if "location" in titles else ())]
    english = translated(service, "en")
    try:
        price, currency = prices.of(service, sku)
        place = city_of(service, cities) or city
        about = [part for name in ("comment", "extraDetails") if (part := _text(service.get(name)))]
        attributes = {
            "provided_by": _text((service.get("providedBy") or {}).get("display")),
            "location": "、".join(places)
            or _text(next((x.get("display") for x in _list(service.get("location"))), None)),
            "practitioners": "、".join(people) or None,
            "types": "、".join(filter(None, (_concept([x]) for x in _list(service.get("type"))))) or None,
        }
        return ListingIn.model_validate(
            {
                "vendor_sku": sku,
                "title": titled(title, shown)[:500],
                "title_en": titled(english, shown, english=True)[:500] if english else None,
                "kind": kind,
                "mode": "appointment",
                "category": _concept(service.get("category")),
                "price": price,
                "currency": currency,
                "city": place,
                "department": department_of(service),
                "description": "\n".join(about)[:4000] or None,
                "attributes": {name: value[:500] for name, value in attributes.items() if value},
                "active": service.get("active", True) is not False,
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        return bad_row(service, first["msg"][:300], "".join(f"/{part}" for part in first["loc"]), sku)
    except ValueError as error:
        return bad_row(service, str(error), "/price", sku)


def titled(name: str, shown: Sequence[str], *, english: bool = False) -> str:
    """A name with who gives it and where behind it; nothing that it says already, and no long lists."""
    new = [word for word in shown if word not in name]
    if not name or not new or len(new) > MOST_IN_TITLE:
        return name
    return f"{name} ({', '.join(new)})" if english else f"{name}（{'、'.join(new)}）"


def unknown_fields(service: Resource) -> set[str]:
    """Fields that FHIR R4 does not have."""
    return {f"HealthcareService.{name}"[:200] for name in service.keys() - _SERVICE_FIELDS if not name.startswith("_")}


def translated(service: Resource, language: str) -> str | None:
    """The name's standard translation extension in `language`."""
    for extension in _list((service.get("_name") or {}).get("extension")):
        if extension.get("url") != TRANSLATION:
            continue
        parts = {part.get("url"): part for part in _list(extension.get("extension"))}
        code = str((parts.get("lang") or {}).get("valueCode", ""))
        if code.lower().split("-")[0] == language:
            return _text((parts.get("content") or {}).get("valueString"))
    return None


def city_of(service: Resource, cities: Mapping[str, str]) -> str | None:
    """The city of the first Location that has one; `cities` maps Location ids."""
    own = {f"#{x.get('id')}": location_city(x) for x in _list(service.get("contained"))}
    for location in _list(service.get("location")):
        reference = str(location.get("reference", ""))
        found = own.get(reference) or cities.get(id_of(reference, "Location") or "")
        if found:
            return found
    return None


def location_city(location: Resource) -> str | None:
    """The city of a Location's address."""
    return _text((location.get("address") or {}).get("city"))


def department_of(service: Resource) -> str | None:
    """The first specialty in words."""
    found = _concept(service.get("specialty"))
    return found[:80] if found else None


def id_of(reference: Any, kind: str) -> str | None:
    """The id in `Kind/123`, `https://…/Kind/123` or `Kind/123/_history/4`; None for any other kind."""
    parts = str(reference or "").split("/")
    for position in range(len(parts) - 1):
        if parts[position] == kind and parts[position + 1]:
            return parts[position + 1]
    return None


def services_of(schedule: Resource, declared: Mapping[str, Any]) -> list[str]:
    """Ids of the HealthcareServices a schedule belongs to: its actors, its service types (R5 lets them point at one),
    or what the connection declares."""
    pointers = [*_list(schedule.get("actor")), *(_dict(x.get("reference")) for x in _list(schedule.get("serviceType")))]
    found = list(dict.fromkeys(x for p in pointers if (x := id_of(p.get("reference"), "HealthcareService"))))
    if not found:
        said = declared.get(schedule["id"]) or declared.get(f"Schedule/{schedule['id']}")
        found = [str(said).removeprefix("HealthcareService/")] if said else []
    return found


def people_of(schedule: Resource) -> list[tuple[str, str | None]]:
    """Who a schedule is for: (reference, name as it is shown)."""
    return [
        (reference, _text(actor.get("display")))
        for actor in _list(schedule.get("actor"))
        if isinstance(reference := actor.get("reference"), str) and any(id_of(reference, kind) for kind in PEOPLE)
    ]


def human_name(person: Resource) -> str | None:
    """The name of a Practitioner as people write it: in Chinese the family name comes first, with no space."""
    for name in _list(person.get("name")):
        if text := _text(name.get("text")):
            return text
        given = [part for part in name.get("given") or [] if isinstance(part, str)]
        family = _text(name.get("family")) or ""
        if any("\u4e00" <= letter <= "\u9fff" for letter in family):
            return family + "".join(given)
        if family or given:
            return " ".join([*given, family]).strip()
    return None


def zone_of(location: Resource) -> str | None:
    """The time zone that a Location says (HL7's extension)."""
    return next((_text(x.get("valueCode")) for x in _list(location.get("extension")) if x.get("url") == TIMEZONE), None)


def kinds_of(resource: Resource, *fields: str) -> frozenset[str]:
    """Codes (as `system|code` and alone) and words of these CodeableConcepts, in lower case."""
    found: set[str] = set()
    for name in fields:
        for concept in _list(resource.get(name)):
            concept = _dict(concept.get("concept")) or concept  # R5: a CodeableReference
            found.add(str(concept.get("text") or ""))
            for coding in _list(concept.get("coding")):
                found |= {str(coding.get("display") or ""), str(coding.get("code") or "")}
                found.add(f"{coding.get('system') or ''}|{coding.get('code') or ''}")
    return frozenset(word.strip().lower() for word in found if word.strip(" |"))


def slot_in(slot: Resource, service: Service, seen_at: datetime, *, free: bool | None = None) -> SlotIn:
    """A bookable time; `free` overrides what its status says. `seen_at` is when the search was sent: the slot's own
    lastUpdated says when it changed, not until when it is known to be so. Raises ValueError for times that are none."""
    start, end = _instant(slot.get("start")), _instant(slot.get("end"))
    if end <= start:
        raise ValueError("the slot ends before it starts")
    return SlotIn(
        vendor_sku=service.sku,
        slot_ref=f"Slot/{slot['id']}",
        start=start,
        end=end,
        free=slot.get("status") == FREE if free is None else free,  # every other code, known or not, closes it
        version=etag_of(slot),
        city=service.city,
        department=service.department,
        reported_at=seen_at,
    )


def etag_of(resource: Resource) -> str | None:
    """The ETag that the resource's version makes."""
    version = (resource.get("meta") or {}).get("versionId")
    return f'W/"{version}"' if version else None


def last_updated(resource: Resource) -> datetime | None:
    """The server's own time of the resource's last change."""
    try:
        return _instant((resource.get("meta") or {}).get("lastUpdated"))
    except ValueError:
        return None


def _instant(raw: Any) -> datetime:
    try:
        when = datetime.fromisoformat(str(raw))
    except ValueError:
        raise ValueError(f"{str(raw)[:40]!r} is not an instant") from None
    if when.tzinfo is None:
        raise ValueError(f"{str(raw)[:40]!r} has no time zone")
    return when


def _digits(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("the price is not a number")
    return repr(value) if isinstance(value, float) else str(value)


def _concept(value: Any) -> str | None:
    """The words of the first CodeableConcept that has any."""
    for concept in _list(value):
        for words in (concept.get("text"), *(coding.get("display") for coding in _list(concept.get("coding")))):
            if text := _text(words):
                return text[:120]
    return None


def _text(value: Any) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    """The objects in a FHIR list; a single object counts as a list of one."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]
