"""Articles out of 832 (catalogue) and 846 (inventory) sets, one record at a time. What the record's fields mean is in
the manifest's map; README.md says where each rule comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import tzinfo
from decimal import Decimal
from typing import IO, Any

from connectors.edi.names import fingerprint
from connectors.edi.packs import canonical, listing, money, pack_text, plain, sku_of
from connectors.x12_edi.envelope import Place, Rules, moment, walk
from connectors.x12_edi.segments import Segment

GTINS = ("UK", "UP", "EN", "UI", "UA", "EO")  # element 235: bar codes; UK is the one of the shipping container
NDCS = ("N4", "N3", "N2", "N1", "ND")
# Element 639: a price that is not for one unit.
PER = {
    **dict.fromkeys(("HP", "LC", "QH", "RC", "TC", "WC"), 100),
    **dict.fromkeys(("TP", "LM", "QS", "RM", "TM", "WM"), 1000),
    **dict.fromkeys(("PD", "LD", "RD", "TD", "WD"), 12),
    "PN": 10, "TT": 10_000, "HT": 100_000,
}  # fmt: skip
NOT_FOR_US = frozenset({"NQ", "TB", "NE", "EC", "BW", "DP", "WI", "PM", "PB", "PU", "SA", "SM", "ME"})


@dataclass(frozen=True, slots=True)
class Reading:
    """How a connection's catalogues are read."""

    rules: Rules
    sku: tuple[str, ...]  # qualifiers of the article number, the best first
    prices: tuple[str, ...]  # price identifier codes of what we pay, the best first
    market_prices: tuple[str, ...]  # of what anybody pays
    on_hand: tuple[str, ...]  # quantity qualifiers of what can be sold, the best first
    unit: str  # the unit that articles are usually sold by
    currency: str
    zone: tzinfo
    breaks: bool = False  # take a price that holds from a quantity on


@dataclass
class _Set:
    """What the head of a set says about all of its articles."""

    of: str = ""
    number: str = ""
    currency: str = ""
    places: list[str] = field(default_factory=list)
    reported: str | None = None


@dataclass
class _Item:
    """The segments of one article."""

    lin: Segment
    rest: list[Segment] = field(default_factory=list)

    def all(self, name: str) -> list[Segment]:
        return [segment for segment in self.rest if segment.name == name]


def articles(file: IO[bytes], reading: Reading, today: str) -> Iterator[dict[str, Any]]:
    """One record for each article that a catalogue lists."""
    for head, item in _items(file, reading, reading.rules.listings):
        yield _article(head, item, reading, today)


def stock(file: IO[bytes], reading: Reading) -> Iterator[dict[str, Any]]:
    """One record for each article and location of the inventories."""
    for head, item in _items(file, reading, "846"):
        of = fingerprint("|".join(sorted(head.places)))
        for figure in _figures(head, item, reading):
            yield {"_of": of, **figure}


def _items(file: IO[bytes], reading: Reading, kind: str) -> Iterator[tuple[_Set, _Item]]:
    head, item = _Set(), None
    for place, segment in walk(file):
        if place.kind != kind:
            continue
        name = segment.name
        if name == "ST":
            head, item = _Set(), None
        elif name == "LIN":
            if item is not None:
                yield head, item
            head.of = head.of or fingerprint(reading.rules.catalogue(head.number, head.places))
            item = _Item(segment)
        elif name in ("CTT", "SE"):
            if item is not None:
                yield head, item
            item = None
        elif item is not None:
            item.rest.append(segment)
        else:
            _head(head, place, segment, reading)


def _head(head: _Set, place: Place, segment: Segment, reading: Reading) -> None:
    if segment.name == "BCT":
        head.number = segment[2]
    elif segment.name == "BIA":
        isa = place.interchange
        at = moment(segment[4], segment[5], reading.zone) if segment[5] else None
        at = at or moment(isa[9], isa[10], reading.zone) or moment(segment[4], "", reading.zone)
        head.reported = at.isoformat() if at else None
    elif segment.name == "CUR":
        head.currency = segment[2]
    elif segment.name == "N1" and segment[1] in ("WH", "SF"):
        head.places.append(segment[4] or segment[2])


def _article(head: _Set, item: _Item, reading: Reading, today: str) -> dict[str, Any]:
    ids = dict(reversed(list(item.lin.pairs)))  # of a qualifier that comes twice the first counts
    record: dict[str, Any] = {"_of": head.of}
    number, qualifier = _number(ids, reading)
    if number is None:
        wanted = ", ".join(reading.sku)
        return {**record, **_raw(item), "_refused": f"it has no article number ({wanted})"}
    price, refused = _price(item, reading)
    unit = price[1] if price else _unit(item) or reading.unit
    record["sku"] = sku_of(number, unit, reading.unit)
    deleted = any(segment[1] in ("D", "3") for segment in item.all("G53"))
    starts, ends = _dates(item)
    if starts > today:
        return {**record, "_later": True}
    if price is None:
        if deleted:
            return {**record, "_gone": True}
        return {**record, **_raw(item), "_refused": refused}
    record |= {
        "external_id": f"{qualifier}:{number}@{unit}",
        "price": plain(price[0]),
        "currency": next((s[2] for s in item.all("CUR") if s[2]), head.currency or reading.currency),
        "active": not deleted and not (ends and ends < today),
    }
    record |= _described(item, ids, number)
    market = next(
        (p for code in reading.market_prices if (p := _price_of(item, code, unit, reading)) is not None), None
    )
    if market is not None and market > 0:
        record["market_price"] = plain(market)
    _packed(item, unit, record)
    return listing(unit, record)


def _number(ids: dict[str, str], reading: Reading) -> tuple[str | None, str]:
    return next(((ids[q], q) for q in reading.sku if ids.get(q)), (None, ""))


def _raw(item: _Item) -> dict[str, Any]:
    """What a refused article is shown as."""
    return {"segments": ["*".join([s.name, *s.elements]) for s in [item.lin, *item.rest]][:40]}


def _described(item: _Item, ids: dict[str, str], number: str) -> dict[str, Any]:
    """Titles, codes and attributes."""
    texts = [(s[2], s[5]) for s in item.all("PID") if s[5]]
    title = next((text for code, text in texts if code == "08"), texts[0][1] if texts else None)
    said: dict[str, Any] = {"title": title, "brand": ids.get("BL") or ids.get("MF"), "model": ids.get("MG")}
    more = [text for _, text in texts if text != title]
    if more:
        said["description"] = "; ".join(more)
    said["gtin"] = next((ids[q] for q in GTINS if ids.get(q) and ids[q].isdigit()), None)
    ndc = next((ids[q] for q in NDCS if ids.get(q)), None)
    attributes = {"ndc": ndc, "buyer_item": ids.get("IN") or ids.get("BP")}
    said["attributes"] = {name: value for name, value in attributes.items() if value and value != number}
    return said


def _packed(item: _Item, unit: str, record: dict[str, Any]) -> None:
    po4 = next(iter(item.all("PO4")), None)
    pack, in_case = pack_text(unit, *((po4[1], po4[2], po4[3]) if po4 is not None else ("", "", "")))
    if pack:
        record["pack"] = pack
    if in_case:
        record["attributes"]["in_case"] = in_case


def _dates(item: _Item) -> tuple[str, str]:
    """From when and until when the article's figures hold, as ISO days: DTM 007 and 036."""
    found = {s[1]: s[2] for s in item.all("DTM") if len(s[2]) == 8 and s[2].isdigit()}

    def iso(raw: str) -> str:
        return f"{raw[:4]}-{raw[4:6]}-{raw[6:]}" if raw else ""

    return iso(found.get("007", "")), iso(found.get("036", ""))


def _unit(item: _Item) -> str:
    return next((s.component(5) for s in item.all("CTP") if s.component(5)), "")


def _price(item: _Item, reading: Reading) -> tuple[tuple[Decimal, str] | None, str]:
    """(price, unit) of the article by the best of the codes that the connection buys at, or why there is none."""
    offered = item.all("CTP")
    if not offered:
        return None, "it has no price (CTP)"
    refused = ""
    for code in reading.prices:
        for segment in offered:
            if segment[2] != code:
                continue
            try:
                return (_amount(segment, reading), segment.component(5) or reading.unit), ""
            except ValueError as error:
                refused = refused or str(error)
    codes = ", ".join(sorted({segment[2] or "none" for segment in offered}))
    return None, refused or f"none of its prices ({codes}) is one that the connection buys at"


def _price_of(item: _Item, code: str, unit: str, reading: Reading) -> Decimal | None:
    for segment in item.all("CTP"):
        if segment[2] == code and canonical(segment.component(5) or reading.unit) == canonical(unit):
            try:
                return _amount(segment, reading)
            except ValueError:
                return None
    return None


def _amount(segment: Segment, reading: Reading) -> Decimal:
    """The price of one unit. Raises ValueError with what is odd about it."""
    if segment[9] in NOT_FOR_US:
        raise ValueError(f"its price is of the kind {segment[9]} (CTP09), which is none for one unit")
    if segment[6] or segment[7]:
        raise ValueError("its price is to be multiplied (CTP06, CTP07)")
    if segment[11] not in ("", "1"):
        raise ValueError(f"its price is for {segment[11]} units (CTP11)")
    if segment[4] not in ("", "0", "1") and Decimal(1) != _decimal(segment[4]) and not reading.breaks:
        raise ValueError(f"its price holds from a quantity of {segment[4]} on (CTP04)")
    return money(segment[3], PER.get(segment[9], 1))


def _decimal(raw: str) -> Decimal | None:
    try:
        return Decimal(raw)
    except ArithmeticError:
        return None


def _figures(head: _Set, item: _Item, reading: Reading) -> Iterator[dict[str, Any]]:
    ids = dict(reversed(list(item.lin.pairs)))
    number, _ = _number(ids, reading)
    if number is None:
        yield {**_raw(item), "_refused": f"it has no article number ({', '.join(reading.sku)})"}
        return
    usual = head.places[0] if len(head.places) == 1 else ""
    for place, quantities in _by_place(item):
        for code in reading.on_hand:
            found = [q for q in quantities if q[1] == code]
            if found:
                unit = found[0].component(3) or _unit(item) or reading.unit
                yield {
                    "sku": sku_of(number, unit, reading.unit),
                    "location": place or usual,
                    "on_hand": found[0][2],
                    "reported_at": head.reported,
                }
                break
        else:
            sku = sku_of(number, _unit(item) or reading.unit, reading.unit)
            codes = ", ".join(sorted({q[1] for q in quantities})) or "none"
            why = f"none of its quantities ({codes}) says what can be sold"
            yield {"sku": sku, "location": place or usual, **_raw(item), "_refused": why}


def _by_place(item: _Item) -> list[tuple[str, list[Segment]]]:
    """The quantities of an article by warehouse. An N1 behind quantities says where these are."""
    found: list[tuple[str, list[Segment]]] = []
    waiting: list[Segment] = []
    for segment in item.rest:
        if segment.name == "QTY":
            waiting.append(segment)
        elif segment.name == "N1" and segment[1] in ("WH", "SF") and waiting:
            found.append((segment[4] or segment[2], waiting))
            waiting = []
    return [*found, ("", waiting)] if waiting or not found else found
