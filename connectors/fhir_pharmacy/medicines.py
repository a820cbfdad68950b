"""MedicationKnowledge in our words: R5's, and R4's older shape. Pure.

R5 keeps names in `name`, prices in `cost.costMoney` and, for packages, in `packaging.cost`; R4 keeps synonyms in
`synonym`, prices in `cost.cost`, one `packaging` with type and quantity, and the manufacturer. A resource gives one
listing, or one for each package that has a sales price of its own. Which cost is the sales price the standard leaves to
its users, so the connection says it; nothing is guessed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from connectors.fhir_clinic.resources import TRANSLATION, Resource, id_of
from connectors.fhir_pharmacy.codes import Codes, Systems, pairs_of, read_codes
from connectors.fhir_pharmacy.times import span_of

_BLANK = re.compile(r"[-－—_/\s]*")  # what people type into a field that must not be empty
_HAN = re.compile(r"[\u4e00-\u9fff]")


class Unsellable(ValueError):
    """Why a medicine cannot be listed, and where it says so."""

    def __init__(self, reason: str, pointer: str = "") -> None:
        super().__init__(reason)
        self.pointer = pointer


@dataclass(frozen=True)
class Rules:
    """What the connection says about its catalogue."""

    sku_system: str | None = None
    price_type: str | None = None
    market_type: str | None = None
    prices: Mapping[str, Any] = field(default_factory=dict)
    currency: str = "CNY"
    systems: Systems = field(default_factory=Systems)
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))


@dataclass(frozen=True)
class Offer:
    """One sellable thing: a medicine, or one of its packages. `codes` and `refs` are what stock reports may call it."""

    sku: str
    family: str
    package: Resource | None
    codes: frozenset[tuple[str, str]]
    refs: frozenset[str]


def offers(resource: Resource, rules: Rules) -> list[Offer]:
    """The sellable things that a MedicationKnowledge describes. Raises Unsellable when they cannot be told apart."""
    sku = _sku(resource, rules)
    codes = pairs_of(resource, "code")
    refs = [f"MedicationKnowledge/{resource['id']}"]
    refs += [str(item.get("reference")) for item in _dicts(resource.get("associatedMedication"))]
    packages = _dicts(resource.get("packaging"))
    priced = [package for package in packages if _of_type(package.get("cost"), rules.price_type)]
    if len(priced) <= 1:
        only = priced[0] if priced else packages[0] if len(packages) == 1 else None
        inner = package_of(resource, only)
        codes += pairs_of(inner) + pairs_of(_dict(inner.get("packaging")))
        refs += [_pointer(package) for package in packages]
        return [Offer(sku, resource["id"], only, frozenset(codes), frozenset(filter(None, refs)))]
    found = []
    for package in priced:
        inner, pointer = package_of(resource, package), _pointer(package)
        own = pairs_of(inner) + pairs_of(_dict(inner.get("packaging")))
        number = next((code for system, code in own if rules.sku_system and system == rules.sku_system), None)
        name = id_of(pointer, "PackagedProductDefinition") or pointer.removeprefix("#") or str(package.get("id") or "")
        if number is None and not name:
            raise Unsellable("it has several packages with a price, and one of them has no identity", "/packaging")
        found.append(
            Offer(
                number or f"{sku}/{name}",
                resource["id"],
                package,
                frozenset(codes + own),
                frozenset(filter(None, [*refs, pointer])),
            )
        )
    return found


def record(resource: Resource, offer: Offer, rules: Rules, now: datetime) -> dict[str, Any]:
    """The flat record of one offer, for the manifest's map. Raises Unsellable."""
    own, inner = offer.package or {}, package_of(resource, offer.package)
    pairs = pairs_of(resource, "code") + pairs_of(inner) + pairs_of(_dict(inner.get("packaging")))
    try:
        codes = read_codes(_inner_first(pairs, inner), rules.systems)
    except ValueError as error:
        raise Unsellable(str(error), "/code") from None
    names = list(_names(resource))
    title = next((name for name in names if _HAN.search(name)), names[0] if names else None)
    english = next((name for name in names if not _HAN.search(name)), None) or _translated(resource)
    price, currency = _price(resource, own, offer.sku, rules, now)
    market = _money(_of_type(own.get("cost"), rules.market_type) or _of_type(resource.get("cost"), rules.market_type),
                    rules, now) if rules.market_type else None  # fmt: skip
    if market is not None and market[1] != currency:
        market = None
    maker, form = (
        _maker(resource),
        _concept(_dict(resource.get("definitional")).get("doseForm") or resource.get("doseForm")),
    )
    if maker is not None and maker == form:
        raise Unsellable(
            f"the manufacturer is {maker!r}, which is the dosage form: the fields are mixed up", "/manufacturer"
        )
    return {
        **resource,
        "_sku": offer.sku,
        "_family": offer.family,
        "_id": offer.family if offer.sku == _sku(resource, rules) else f"{offer.family}/{_pointer(own) or offer.sku}",
        "_title": title,
        "_title_en": english if english != title else None,
        "_brand": maker,
        "_gtin": codes.gtin,
        "_category": _concept(resource.get("productType")) or _classified(resource),
        "_pack": _pack(resource, offer.package),
        "_price": price,
        "_currency": currency,
        "_market_price": market[0] if market else None,
        "_attributes": _attributes(resource, codes, names, title, english, form),
    }


def package_of(resource: Resource, package: Resource | None) -> Resource:
    """The PackagedProductDefinition inside the resource that a package points at; empty when it is elsewhere."""
    return _contained(resource, _pointer(package))


def _contained(resource: Resource, reference: Any) -> Resource:
    """What stands inside the resource under `#id`; empty for any other reference."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        return {}
    return next((item for item in _dicts(resource.get("contained")) if f"#{item.get('id')}" == reference), {})


def _pointer(package: Resource | None) -> str:
    return str(_dict((package or {}).get("packagedProduct")).get("reference") or "")


def _inner_first(pairs: list[tuple[str, str]], inner: Resource) -> list[tuple[str, str]]:
    """A package's own codes before those of the medicine in it."""
    own = pairs_of(inner) + pairs_of(_dict(inner.get("packaging")))
    return own + [pair for pair in pairs if pair not in own]


def _sku(resource: Resource, rules: Rules) -> str:
    """The code of the connection's `sku_system`, or the resource's id when none is set."""
    if not rules.sku_system:
        return str(resource["id"])
    for system, code in pairs_of(resource, "code"):
        if system == rules.sku_system:
            return code
    raise Unsellable(f"it has no identifier or code of the system {rules.sku_system}", "/identifier")


# Prices ------------------------------------------------------------------------------------------------------------


def _price(resource: Resource, package: Resource, sku: str, rules: Rules, now: datetime) -> tuple[str, str]:
    own = _of_type(package.get("cost"), rules.price_type) or _of_type(resource.get("cost"), rules.price_type)
    found = _money(own, rules, now)
    if found is not None:
        return found
    entry = rules.prices.get(sku)
    if isinstance(entry, Mapping):
        return _digits(entry.get("price")), str(entry.get("currency") or rules.currency)
    if entry is not None:
        return _digits(entry), rules.currency
    costs = [*_dicts(package.get("cost")), *_dicts(resource.get("cost"))]
    said = sorted({word for cost in costs if (word := _concept(cost.get("type")))})
    if rules.price_type is None:
        hint = f" (it has {', '.join(said)})" if said else ""
        raise Unsellable(f"the connection does not say which cost is the sales price: set `price_type`{hint}", "/cost")
    if own:
        raise Unsellable(f"its cost of type {rules.price_type!r} is no amount that holds today", "/cost")
    has = f"it has {', '.join(said)}" if said else "it has no costs"
    raise Unsellable(f"it has no cost of type {rules.price_type!r} ({has}) and no entry in `prices`", "/cost")


def _of_type(costs: Any, wanted: str | None) -> list[Resource]:
    """The costs whose type is `wanted`: a code, `system|code`, or the words."""
    return [cost for cost in _dicts(costs) if wanted and wanted.strip().lower() in _words(cost.get("type"))]


def _money(costs: Iterable[Resource], rules: Rules, now: datetime) -> tuple[str, str] | None:
    """The one amount that holds now; None when there is none. Raises Unsellable for two different ones."""
    amounts = set()
    for cost in costs:
        money = cost.get("costMoney") if isinstance(cost.get("costMoney"), dict) else cost.get("cost")
        periods = _dicts(cost.get("effectiveDate"))
        if periods and not any(_holds(period, now, rules.zone) for period in periods):
            continue
        if isinstance(money, dict) and money.get("value") is not None:
            amounts.add((_digits(money["value"]), str(money.get("currency") or rules.currency)))
    if len(amounts) > 1:
        shown = ", ".join(sorted(" ".join(amount) for amount in amounts))
        raise Unsellable(f"it has more than one price of the same type: {shown}", "/cost")
    return amounts.pop() if amounts else None


def _holds(period: Resource, now: datetime, zone: ZoneInfo) -> bool:
    try:
        start, end = (span_of(period[name], zone) if period.get(name) else None for name in ("start", "end"))
    except ValueError:
        return False
    return (start is None or start.first <= now) and (end is None or now <= end.last)


def _digits(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Unsellable("the price is not a number", "/cost")
    return repr(value) if isinstance(value, float) else str(value)


# Words -------------------------------------------------------------------------------------------------------------


def _names(resource: Resource) -> Iterator[str]:
    """Names, then synonyms, then what the code is called, each once."""
    code = _dict(resource.get("code"))
    displays = [coding.get("display") for coding in _dicts(code.get("coding"))]
    r5, r4 = resource.get("name"), resource.get("synonym")
    listed = [*(r5 if isinstance(r5, list) else [r5])]
    rest = [*(r4 if isinstance(r4, list) else [r4])]
    heads = [*listed, code.get("text")] if any(isinstance(n, str) for n in listed) else [code.get("text")]
    seen: dict[str, None] = {}
    for name in [*heads, *rest, *displays]:
        if isinstance(name, str) and not _BLANK.fullmatch(name):
            seen.setdefault(name.strip())
    return iter(seen)


def _translated(resource: Resource) -> str | None:
    """HL7's translation extension on the first name or on the code's text, in English."""
    shadows = resource.get("_name") if isinstance(resource.get("_name"), list) else [resource.get("_name")]
    for shadow in [*(shadows or []), _dict(resource.get("code")).get("_text")]:
        for extension in _dicts(_dict(shadow).get("extension")):
            if extension.get("url") != TRANSLATION:
                continue
            parts = {part.get("url"): part for part in _dicts(extension.get("extension"))}
            language = str(_dict(parts.get("lang")).get("valueCode") or "")
            text = _dict(parts.get("content")).get("valueString") or _dict(parts.get("content")).get("valueMarkdown")
            if language.lower().split("-")[0] == "en" and isinstance(text, str) and text.strip():
                return text.strip()
    return None


def _maker(resource: Resource) -> str | None:
    """R4's manufacturer; in R5 the holder of the authorisation of a medication that the resource contains."""
    held = _dict(resource.get("manufacturer"))
    words = held.get("display") or _contained(resource, held.get("reference")).get("name")
    for pointer in _dicts(resource.get("associatedMedication")):
        holder = _dict(_contained(resource, pointer.get("reference")).get("marketingAuthorizationHolder"))
        words = words or holder.get("display") or _contained(resource, holder.get("reference")).get("name")
    return words.strip()[:120] if isinstance(words, str) and not _BLANK.fullmatch(words) else None


def _pack(resource: Resource, package: Resource | None) -> str | None:
    """The pack in words: the package's own, or R4's quantity and type (`24 片/盒`)."""
    inner, own = package_of(resource, package), package or {}
    for words in (
        inner.get("name"),
        inner.get("description"),
        "/".join(_quantity(q) for q in _dicts(inner.get("containedItemQuantity"))),
        _dict(own.get("packagedProduct")).get("display"),
    ):
        if isinstance(words, str) and not _BLANK.fullmatch(words):
            return words.strip()[:120]
    amount, kind = _quantity(own.get("quantity")), _concept(own.get("type"))
    return ("/".join(filter(None, (amount, kind))) or _quantity(resource.get("amount")))[:120] or None


def _attributes(
    resource: Resource, codes: Codes, names: list[str], title: str | None, english: str | None, form: str | None
) -> dict[str, str]:
    definition = _dict(resource.get("definitional"))
    routes = definition.get("intendedRoute") or resource.get("intendedRoute")
    strengths = [
        text for item in _dicts(definition.get("ingredient") or resource.get("ingredient")) if (text := _strength(item))
    ]
    schedules = [
        word
        for rule in _dicts(resource.get("regulatory"))
        for schedule in _dicts(rule.get("schedule"))
        if (word := _concept(schedule.get("schedule") or schedule))  # R4 wraps it once more
    ]
    found = codes.attributes() | {
        "synonyms": "、".join(name for name in names if name not in (title, english)),
        "dose_form": form or "",
        "strength": "; ".join(strengths),
        "route": _concept(routes) or "",
        "schedule": "、".join(dict.fromkeys(schedules)),
    }
    return {name: value[:500] for name, value in found.items() if value}


def _strength(item: Resource) -> str:
    if ratio := _dict(item.get("strengthRatio") or item.get("strength")):
        return "/".join(filter(None, (_quantity(ratio.get("numerator")), _quantity(ratio.get("denominator")))))
    return _quantity(item.get("strengthQuantity")) or _concept(item.get("strengthCodeableConcept")) or ""


def _quantity(value: Any) -> str:
    """`24 片`; empty when there is no number."""
    quantity = _dict(value)
    number, unit = quantity.get("value"), quantity.get("unit") or quantity.get("code") or ""
    if isinstance(number, bool) or not isinstance(number, int | float):
        return ""
    return f"{number:g} {unit}".strip()


def _classified(resource: Resource) -> str | None:
    for entry in _dicts(resource.get("medicineClassification")):
        if word := _concept(entry.get("classification")):
            return word
    return None


def _words(concept: Any) -> set[str]:
    """Everything by which a CodeableConcept may be called, in lower case."""
    found = {str(_dict(concept).get("text") or "")}
    for coding in _dicts(_dict(concept).get("coding")):
        found |= {str(coding.get("code") or ""), str(coding.get("display") or "")}
        found.add(f"{coding.get('system') or ''}|{coding.get('code') or ''}")
    return {word.strip().lower() for word in found if word.strip(" |")}


def _concept(value: Any) -> str | None:
    """The words of the first CodeableConcept that has any, else its first code."""
    concepts = _dicts(value if isinstance(value, list) else [value])
    for concept in concepts:
        words = [concept.get("text"), *(coding.get("display") for coding in _dicts(concept.get("coding")))]
        for text in words:
            if isinstance(text, str) and not _BLANK.fullmatch(text):
                return text.strip()[:120]
    codes = [coding.get("code") for concept in concepts for coding in _dicts(concept.get("coding"))]
    return next((code for code in codes if isinstance(code, str) and code), None)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects in a FHIR list; a single object counts as a list of one."""
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]
