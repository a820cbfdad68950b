"""What we write: 850 (order), 860 (its cancellation), 997 and TA1 (acknowledgements of what came). X12 has no way to
write its own separators inside a text, so an identifier that holds one is refused, and a text that holds one gets a
space instead."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import IO

from connectors.contracts import PoLine, PurchaseOrder
from connectors.edi.models import GroupResult, Scan, Sent, SentLine
from connectors.edi.packs import parts_of_sku, plain, sku_of
from connectors.x12_edi.answers import number
from connectors.x12_edi.segments import segments

ELEMENT, COMPONENT, REPEAT, SEGMENT = "*", ">", "^", "~"
_SPECIAL = re.compile(r"[*>^~\x00-\x1f\x7f]+")
_REF = re.compile(r"(?P<qualifier>[A-Z0-9]{2}):(?P<number>.+)@(?P<unit>[A-Z0-9]{2})", re.DOTALL)
ACKNOWLEDGED_FROM_5010 = "005010"


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes to whom, and how the partner wants it."""

    ours: tuple[str, str]  # qualifier and id in interchange headers
    theirs: tuple[str, str]
    our_application: str  # ids in group headers
    their_application: str
    version: str  # such as 004010
    test: bool
    zone: tzinfo
    unit: str
    sku: tuple[str, ...]
    order_type: str
    sales_requirement: str
    buyer: tuple[str, str, str]  # name, qualifier, id
    routing: str

    def interchange(self, control: int, now: datetime, body: Sequence[Sequence[str]], groups: int) -> bytes:
        """The segments of `body` in an interchange."""
        local = now.astimezone(self.zone)
        early = self.version < "004020"
        isa = [
            "ISA", "00", " " * 10, "00", " " * 10, self.ours[0], self.ours[1].ljust(15), self.theirs[0],
            self.theirs[1].ljust(15), f"{local:%y%m%d}", f"{local:%H%M}", "U" if early else REPEAT,
            self.version[:5], f"{control:09d}", "0", "T" if self.test else "P", COMPONENT,
        ]  # fmt: skip
        whole = [isa, *body, ["IEA", str(groups), f"{control:09d}"]]
        return "".join(_line(segment) for segment in whole).encode("utf-8")

    def group(
        self, kind: str, control: int, now: datetime, sets: Iterable[Sequence[Sequence[str]]]
    ) -> list[Sequence[str]]:
        """Transaction sets, each without its trailer, in a functional group."""
        local = now.astimezone(self.zone)
        made: list[Sequence[str]] = [
            ["GS", kind, self.our_application, self.their_application, f"{local:%Y%m%d}", f"{local:%H%M}",
             str(control), "X", self.version]
        ]  # fmt: skip
        count = 0
        for body in sets:
            count += 1
            name = f"{count:04d}"
            made += [["ST", body[0][0], name, *body[0][1:]], *body[1:], ["SE", str(len(body) + 1), name]]
        return [*made, ["GE", str(count), str(control)]]

    # Orders ---------------------------------------------------------------------------------------------------

    def order(self, po: PurchaseOrder, key: str, control: int, now: datetime) -> bytes:
        """The 850. Raises ValueError for an order that X12 cannot say."""
        if not 1 <= len(key) <= 22 or _SPECIAL.search(key):
            raise ValueError(f"the order number {key[:40]!r} does not fit into an X12 order (22 characters)")
        placed = po.placed_at.astimezone(self.zone)
        currencies = {line.currency for line in po.lines}
        if len(currencies) != 1:
            raise ValueError("an X12 order has one currency")
        body: list[Sequence[str]] = [
            ["850"],
            ["BEG", "00", self.order_type, key, "", f"{placed:%Y%m%d}"],
            ["CUR", "BY", currencies.pop()],
        ]
        if self.sales_requirement:
            body.append(["CSH", self.sales_requirement])
        if self.routing:
            body.append(["TD5", "", "", "", "", text(self.routing, 35)])
        name, qualifier, buyer = self.buyer
        if name or buyer:
            body.append(["N1", "BY", text(name, 60), *([qualifier, _identifier(buyer, 80)] if buyer else [])])
        body += self._ship_to(po)
        for line in po.lines:
            body.append(self._line(line))
        body.append(["CTT", str(len(po.lines))])
        return self.interchange(control, now, self.group("PO", control, now, [body]), 1)

    def _line(self, line: PoLine) -> list[str]:
        qualifier, article, unit = self._article(line)
        price = plain(line.unit_price)
        return ["PO1", str(line.line_no), str(line.quantity), unit, price, "", qualifier, _identifier(article, 48)]

    def _article(self, line: PoLine) -> tuple[str, str, str]:
        """(qualifier, number, unit): as the listing had them, otherwise as its SKU says."""
        found = _REF.fullmatch(line.vendor_ref or "")
        if found is not None and sku_of(found["number"], found["unit"], self.unit) == line.vendor_sku:
            return found["qualifier"], found["number"], found["unit"]
        article, unit = parts_of_sku(line.vendor_sku)
        return self.sku[0], article, unit or self.unit

    def _ship_to(self, po: PurchaseOrder) -> list[Sequence[str]]:
        to = po.ship_to
        body: list[Sequence[str]] = [["N1", "ST", text(to.name, 60)]]
        street = _pieces(text(" ".join(part for part in (to.district, to.address) if part), 10_000), 55)
        if len(street) > 4:
            raise ValueError("the address is longer than an X12 order can hold (220 characters)")
        body += [["N3", *street[at : at + 2]] for at in range(0, len(street), 2)]
        state = to.province if len(to.province) == 2 and to.province.isascii() else ""
        n4 = ["N4", text(to.city, 30), state, text(to.postcode, 15), text(to.country, 3)]
        body.append([*n4, "SP", text(to.province, 30)] if to.province and not state else n4)
        if to.phone:
            body.append(["PER", "DC", text(to.name, 60), "TE", text(to.phone, 80)])
        return body

    def cancellation(self, sent: Sent, control: int, now: datetime) -> bytes:
        """The 860 that cancels a whole order."""
        day = sent.at.astimezone(self.zone)
        body: list[Sequence[str]] = [
            ["860"],
            ["BCH", "01", self.order_type, sent.po_number, "", "1", f"{day:%Y%m%d}"],
        ]
        return self.interchange(control, now, self.group("PC", control, now, [body]), 1)

    # Acknowledgements -----------------------------------------------------------------------------------------

    def receipt(self, scan: Scan, file: IO[bytes], control: int, now: datetime) -> bytes | None:
        """A 997 for each group that came, and a TA1 where the sender asked for one. Nothing for acknowledgements, and
        nothing to strangers."""
        if scan.stranger:
            return None
        sets = [self._acknowledged(group, bool(scan.refused)) for group in scan.groups if group.kind != "FA"]
        segments_: list[Sequence[str]] = []
        if scan.wants_receipt:
            ok = not scan.refused
            segments_.append(["TA1", scan.control, *scan.stamp, "A" if ok else "R", "000" if ok else "022"])
        if sets:
            segments_ += self.group("FA", control, now, sets)
        return self.interchange(control, now, segments_, 1 if sets else 0) if segments_ else None

    def _acknowledged(self, group: GroupResult, refused: bool) -> list[Sequence[str]]:
        """The 997 of one group. Of a file that is refused nothing is used, so every set is refused."""
        versioned = [group.version] if group.version >= ACKNOWLEDGED_FROM_5010 else []
        body: list[Sequence[str]] = [["997"], ["AK1", group.kind, group.control, *versioned]]
        taken = 0
        for one in group.sets:
            body.append(["AK2", one.kind, one.control])
            code = "R" if one.fatal or refused else "E" if one.error else "A"
            taken += code != "R"
            error = one.error or ("5" if refused else "")
            body.append(["AK5", code, *([error] if error else [])])
        total = len(group.sets)
        code = "A" if taken == total else "R" if not taken else "P"
        if code == "A" and (group.error or any(one.error for one in group.sets)):
            code = "E"
        counts = [str(total), str(total), str(taken)]
        return [*body, ["AK9", code, *counts, *([group.error] if group.error else [])]]

    # Our own copies -------------------------------------------------------------------------------------------

    def own(self, data: bytes) -> Sent:
        """Read back an 850 or an 860 that we wrote."""
        control, key, at = "", "", datetime(1970, 1, 1, tzinfo=UTC)
        lines: list[SentLine] = []
        for segment in segments(io.BytesIO(data)):
            if segment.name == "ISA":
                control = segment[13].lstrip("0") or "0"
                written = datetime.strptime(segment[9] + segment[10], "%y%m%d%H%M")  # noqa: DTZ007 - zoned here
                at = written.replace(tzinfo=self.zone).astimezone(UTC)
            elif segment.name in ("BEG", "BCH"):
                key = segment[3]
            elif segment.name == "PO1":
                quantity, price = number(segment[2]), number(segment[4])
                assert quantity is not None and price is not None, "we wrote it"
                sku = sku_of(segment[7], segment[3], self.unit)
                lines.append(SentLine(segment[1], sku, quantity, price))
        return Sent(control, key, at, tuple(lines))


def text(value: str, most: int) -> str:
    """A free text as X12 can hold it."""
    plain_ = " ".join(_SPECIAL.sub(" ", value).split())
    return plain_[:most].rstrip()


def _identifier(value: str, most: int) -> str:
    if not value or len(value) > most or _SPECIAL.search(value):
        raise ValueError(f"the identifier {value[:60]!r} cannot be written in X12")
    return value


def _pieces(value: str, size: int) -> list[str]:
    return [value[at : at + size] for at in range(0, len(value), size)]


def _line(segment: Sequence[str]) -> str:
    """One segment, empty elements at its end left out."""
    elements = list(segment)
    if elements[0] != "ISA":
        while elements[-1] == "":
            elements.pop()
    return ELEMENT.join(elements) + SEGMENT
