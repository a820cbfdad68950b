"""Articles out of PRICAT (price and sales catalogue) and INVRPT (inventory report) messages, one record at a time. What
the record's fields mean is in the manifest's map; README.md says where each rule comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal, InvalidOperation
from typing import IO, Any

from connectors.edi.names import fingerprint
from connectors.edi.packs import EACH, WORDS, canonical, listing, money, pack_text, plain, sku_of
from connectors.edifact.envelope import Rules, moment, place_of, walk, written
from connectors.edifact.segments import Segment

GTINS = ("SRV", "EN", "UP")  # data element 7143: bar codes
TEXT = 500


@dataclass(frozen=True, slots=True)
class Reading:
    """How a connection's catalogues are read."""

    rules: Rules
    sku: tuple[str, ...]  # qualifiers of the article number (7143), the best first
    prices: tuple[str, ...]  # price qualifiers (5125) or specifications (5387) of what we pay, the best first
    market_prices: tuple[str, ...]  # of what anybody pays
    on_hand: tuple[str, ...]  # quantity qualifiers (6063) of what can be sold, the best first
    unit: str
    currency: str
    zone: tzinfo
    breaks: bool = False


@dataclass
class _Head:
    """What the head of a message says about all of its articles."""

    of: str = ""
    number: str = ""
    currency: str = ""
    starts: str = ""
    places: list[str] = field(default_factory=list)
    reported: str | None = None


@dataclass
class _Item:
    """The segments of one article."""

    lin: Segment
    rest: list[Segment] = field(default_factory=list)

    def all(self, tag: str) -> list[Segment]:
        return [segment for segment in self.rest if segment.tag == tag]


def articles(file: IO[bytes], reading: Reading, today: str) -> Iterator[dict[str, Any]]:
    """One record for each article that a catalogue lists."""
    for head, item in _items(file, reading, "PRICAT"):
        yield _article(head, item, reading, today)


def stock(file: IO[bytes], reading: Reading) -> Iterator[dict[str, Any]]:
    """One record for each article and location of the inventory reports."""
    for head, item in _items(file, reading, "INVRPT"):
        of = fingerprint("|".join(sorted(head.places)))
        for figure in _figures(head, item, reading):
            yield {"_of": of, **figure}


def _items(file: IO[bytes], reading: Reading, kind: str) -> Iterator[tuple[_Head, _Item]]:
    head, item = _Head(), None
    for place, segment in walk(file, reading.rules.encoding):
        if place.kind != kind:
            continue
        tag = segment.tag
        if tag == "UNH":
            made = written(place.interchange, reading.zone)
            head, item = _Head(reported=made.isoformat() if made else None), None
        elif tag == "LIN":
            if item is not None:
                yield head, item
            head.of = fingerprint(reading.rules.catalogue(head.number))
            item = _Item(segment)
        elif tag in ("UNS", "CNT", "UNT"):
            if item is not None:
                yield head, item
            item = None
        elif item is not None:
            item.rest.append(segment)
        else:
            _head(head, segment, reading)


def _head(head: _Head, segment: Segment, reading: Reading) -> None:
    if segment.tag == "RFF" and segment.get(1) == "PL":
        head.number = segment.get(1, 2)
    elif segment.tag == "CUX":
        head.currency = segment.get(1, 2)
    elif (
        segment.tag == "DTM" and segment.get(1) in ("137", "366", "194", "7") and (at := moment(segment, reading.zone))
    ):
        if segment.get(1) in ("194", "7"):
            head.starts = at.astimezone(reading.zone).date().isoformat()
        elif segment.get(1, 3) not in ("", "101", "102"):  # a day alone is less than the interchange's own time
            head.reported = at.isoformat()
    elif place := place_of(segment):
        head.places.append(place)


def ids_of(lin: Segment, rest: list[Segment]) -> dict[str, str]:
    """The article's numbers by their qualifiers (7143), out of LIN and PIA; of one that comes twice the first."""
    found: dict[str, str] = {}
    composites = [lin.elements[2]] if len(lin.elements) > 2 else []
    for segment in rest:
        if segment.tag == "PIA" and segment.get(1) in ("1", "5"):  # the others name what may be sent instead
            composites += segment.elements[1:]
    for composite in composites:
        if composite and composite[0].strip():
            found.setdefault(composite[1].strip() if len(composite) > 1 else "", composite[0].strip())
    return found


def article_number(ids: dict[str, str], wanted: tuple[str, ...]) -> tuple[str | None, str]:
    """(number, qualifier) by the best of the wanted qualifiers; a number without one is better than none."""
    return next(((ids[q], q) for q in (*wanted, "") if ids.get(q)), (None, ""))


def _article(head: _Head, item: _Item, reading: Reading, today: str) -> dict[str, Any]:
    ids = ids_of(item.lin, item.rest)
    record: dict[str, Any] = {"_of": head.of}
    number, qualifier = article_number(ids, reading.sku)
    if number is None:
        return {**record, **_raw(item), "_refused": f"it has no article number ({', '.join(reading.sku)})"}
    inner = _inner(item)
    price, refused = _price(item, reading, inner)
    unit = price[1] if price else reading.unit
    record["sku"] = sku_of(number, unit, reading.unit)
    starts, ends = _dates(item, reading)
    if (starts or head.starts) > today:
        return {**record, "_later": True}
    deleted = item.lin.get(2) == "2"
    if price is None:
        return {**record, "_gone": True} if deleted else {**record, **_raw(item), "_refused": refused}
    record |= {
        "external_id": f"{qualifier}:{number}@{unit}",
        "price": plain(price[0]),
        "currency": price[2] or head.currency or reading.currency,
        "active": not deleted and not (ends and ends < today),
        "gtin": next((ids[q] for q in GTINS if ids.get(q, "").isdigit()), None),
        "model": ids.get("MF"),
        "attributes": {"buyer_item": ids["IN"]} if ids.get("IN") else {},
    }
    record |= _texts(item)
    for code in reading.market_prices:
        market = _market(item, code, unit, reading)
        if market is not None and market > 0:
            record["market_price"] = plain(market)
            break
    _packed(item, unit, inner, record)
    return listing(unit, record)


def _raw(item: _Item) -> dict[str, Any]:
    """What a refused article is shown as."""
    shown = [item.lin, *item.rest][:40]
    return {"segments": ["+".join([s.tag, *(":".join(element) for element in s.elements)]) for s in shown]}


def _texts(item: _Item) -> dict[str, Any]:
    """Titles by their language (3453) where it is said, and the brand (7081 BRN, of GS1's code list)."""
    said: list[tuple[str, str]] = []
    brand = None
    for segment in item.all("IMD"):
        text = " ".join("".join(part for part in (segment.get(3, 4), segment.get(3, 5))).split())
        if not text:
            continue
        if segment.get(2) == "BRN":
            brand = brand or text
        else:
            said.append((segment.get(3, 6).lower(), text))
    chinese = next((text for language, text in said if language.startswith("zh")), None)
    english = next((text for language, text in said if language.startswith("en")), None)
    title = chinese or (said[0][1] if said else None)
    rest = [text for _, text in said if text not in (title, english)]
    return {
        "title": title,
        "title_en": english if english != title else None,
        "brand": brand,
        "description": "; ".join(dict.fromkeys(rest)) or None,
    }


def _inner(item: _Item) -> int:
    """How many consumer units the traded unit holds (QTY 59), or pieces its pack (52)."""
    for code in ("59", "52"):
        for segment in item.all("QTY"):
            amount = number_of(segment.get(1, 2)) if segment.get(1) == code else None
            if amount is not None and amount == amount.to_integral() and 0 < amount < 1_000_000:
                return int(amount)
    return 1


def _packed(item: _Item, unit: str, inner: int, record: dict[str, Any]) -> None:
    """The pack: what the article that the price is for contains."""
    size, size_unit = "", ""
    for segment in item.all("MEA"):  # 6313: AAA and AAL are net, others tell of the packing or of its outside
        net = segment.get(1) == "PD" and segment.get(2) in ("AAA", "AAL")
        if net and segment.get(3) in WORDS and segment.get(3) not in EACH:
            size, size_unit = segment.get(3, 2), segment.get(3)
            break
    if inner > 1:
        content = pack_text("PK", str(inner), "", "PCE")[0]
        record["pack"] = content
        return
    pack, _ = pack_text(unit, "", size.replace(",", "."), size_unit)
    if pack:
        record["pack"] = pack


def _dates(item: _Item, reading: Reading) -> tuple[str, str]:
    """From when and until when: DTM 194 or 7, and 206 or 36."""
    found: dict[str, str] = {}
    for segment in item.all("DTM"):
        at = moment(segment, reading.zone)
        if at is not None:
            found.setdefault(segment.get(1), at.astimezone(reading.zone).date().isoformat())
    return found.get("194") or found.get("7") or "", found.get("206") or found.get("36") or ""


def _offers(item: _Item) -> list[tuple[Segment, Segment | None, str]]:
    """The prices, each with its range of quantities and its own currency, if it has one."""
    found: list[tuple[Segment, Segment | None, str]] = []
    for segment in item.rest:
        if segment.tag == "PRI":
            found.append((segment, None, ""))
        elif found and segment.tag == "RNG":
            found[-1] = (found[-1][0], segment, found[-1][2])
        elif found and segment.tag == "CUX":
            found[-1] = (found[-1][0], found[-1][1], segment.get(1, 2))
    return found


def _price(item: _Item, reading: Reading, inner: int) -> tuple[tuple[Decimal, str, str] | None, str]:
    """(price, unit, currency) by the best of the codes that the connection buys at, or why there is none."""
    offers = _offers(item)
    if not offers:
        return None, "it has no price (PRI)"
    refused = ""
    for code in reading.prices:
        for pri, rng, currency in offers:
            if not _is(pri, code) or any(_is(pri, other) for other in reading.market_prices if other != code):
                continue
            try:
                return (_amount(pri, rng, reading, inner), pri.get(1, 6) or reading.unit, currency), ""
            except ValueError as error:
                refused = refused or str(error)
    codes = ", ".join(sorted({":".join(filter(None, (p.get(1), p.get(1, 4)))) for p, _, _ in offers}))
    return None, refused or f"none of its prices ({codes}) is one that the connection buys at"


def _market(item: _Item, code: str, unit: str, reading: Reading) -> Decimal | None:
    for pri, rng, _ in _offers(item):
        if _is(pri, code) and canonical(pri.get(1, 6) or reading.unit) == canonical(unit):
            try:
                return _amount(pri, rng, reading, 1)
            except ValueError:
                return None
    return None


def _is(pri: Segment, code: str) -> bool:
    return code in (pri.get(1), pri.get(1, 4))


def _amount(pri: Segment, rng: Segment | None, reading: Reading, inner: int) -> Decimal:
    """The price of one unit. Raises ValueError with what is odd about it."""
    basis, unit = pri.get(1, 5), pri.get(1, 6)
    least = number_of(rng.get(2, 2)) if rng is not None else None
    if least is not None and least > 1 and not reading.breaks:
        raise ValueError(f"its price holds from a quantity of {least:f} on (RNG)")
    if unit and unit in EACH and inner > 1:
        raise ValueError(f"its price is for one {unit}, and it is sold with {inner} in a unit")
    if unit in WORDS and WORDS[unit] in ("g", "kg", "mg", "ml", "l", "cl"):
        raise ValueError(f"its price is for a measure ({basis or 1} {unit}), not for an article")
    divisor = number_of(basis) if basis else Decimal(1)
    if divisor is None or divisor != divisor.to_integral() or divisor < 1:
        raise ValueError(f"its price is for {basis!r} units")
    return money(pri.get(1, 2).replace(",", "."), int(divisor))


def number_of(raw: str) -> Decimal | None:
    """A number with a decimal point or, as EDIFACT has it, a decimal comma."""
    try:
        value = Decimal(raw.replace(",", "."))
    except InvalidOperation:
        return None
    return value if value.is_finite() else None


def _figures(head: _Head, item: _Item, reading: Reading) -> Iterator[dict[str, Any]]:
    ids = ids_of(item.lin, item.rest)
    number, _ = article_number(ids, reading.sku)
    if number is None:
        yield {**_raw(item), "_refused": f"it has no article number ({', '.join(reading.sku)})"}
        return
    usual = head.places[0] if len(head.places) == 1 else ""
    if any(segment.get(1) for segment in item.all("INV")):
        yield {"sku": number, **_raw(item), "_refused": "it tells of a movement (INV), not of what is there"}
        return
    for place, quantities in _by_place(item):
        for code in reading.on_hand:
            found = [q for q in quantities if q.get(1) == code]
            if found:
                yield {
                    "sku": sku_of(number, found[0].get(1, 3) or reading.unit, reading.unit),
                    "location": place or usual,
                    "on_hand": found[0].get(1, 2).replace(",", "."),
                    "reported_at": head.reported,
                }
                break
        else:
            codes = ", ".join(sorted({q.get(1) for q in quantities})) or "none"
            why = f"none of its quantities ({codes}) says what can be sold"
            yield {"sku": number, "location": place or usual, **_raw(item), "_refused": why}


def _by_place(item: _Item) -> list[tuple[str, list[Segment]]]:
    """The quantities of an article by warehouse: a location before all quantities is that of them all, one behind a
    quantity that of the quantities since the location before."""
    found: list[tuple[str, list[Segment]]] = []
    waiting: list[Segment] = []
    of_all, any_yet = "", False
    for segment in item.rest:
        if segment.tag == "QTY":
            waiting.append(segment)
            any_yet = True
        elif place := place_of(segment):
            if not any_yet:
                of_all = place
            elif waiting:
                found.append((place, waiting))
                waiting = []
    return [*found, (of_all, waiting)] if waiting or not found else found
