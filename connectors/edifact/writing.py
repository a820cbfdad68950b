"""What we write: ORDERS, its cancellation by ORDCHG, and CONTRL for what came. pydifact escapes and joins; the
character set is the one that the syntax identifier names, and what it cannot hold is refused."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import IO

from pydifact.control.characters import Characters
from pydifact.segments import Segment as Written
from pydifact.serializer import Serializer

from connectors.contracts import PoLine, PurchaseOrder
from connectors.edi.models import Scan, Sent, SentLine
from connectors.edi.packs import canonical, parts_of_sku, plain, sku_of
from connectors.edifact.catalogue import GTINS, article_number, ids_of, number_of
from connectors.edifact.envelope import walk
from connectors.edifact.segments import CHARSETS, Segment

_REF = re.compile(r"(?P<qualifier>[A-Z0-9]{0,3}):(?P<number>.+)@(?P<unit>[A-Z0-9]{1,3})", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")
_NOT_A = re.compile(r"[^A-Z0-9 .,\-()/='+:?!\"%&*;<>]")
ADVICE = "UNA:+.? '"

Element = str | list[str]


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes to whom, and how the partner wants it."""

    ours: tuple[str, str]  # id and qualifier in interchange headers
    theirs: tuple[str, str]
    syntax: tuple[str, str]  # such as UNOC and 3
    version: tuple[str, str]  # release and association code, such as 96A and EAN008
    test: bool
    zone: tzinfo
    unit: str
    sku: tuple[str, ...]
    buyer: str
    supplier: str
    agency: str  # who gives these numbers: 9 GS1, 91 the supplier, 92 the buyer

    def interchange(self, control: int, now: datetime, kind: str, body: Sequence[Sequence[Element]]) -> bytes:
        """One message in an interchange."""
        local = now.astimezone(self.zone)
        day = f"{local:%Y%m%d}" if self.syntax[1] >= "4" else f"{local:%y%m%d}"
        ours, theirs = list(self.ours), list(self.theirs)
        unb: list[Element] = ["UNB", list(self.syntax), ours, theirs, [day, f"{local:%H%M}"], str(control)]
        if self.test:
            unb += ["", "", "", "", "", "1"]
        release, association = self.version
        if kind == "CONTRL":  # its version is that of the syntax, whatever the directory of the others
            identity = [kind, *(("4", "1") if self.syntax[1] >= "4" else ("D", "3")), "UN"]
        else:
            identity = [kind, "D", release, "UN", *([association] if association else [])]
        whole: list[Sequence[Element]] = [
            unb, ["UNH", "1", identity], *body, ["UNT", str(len(body) + 2), "1"], ["UNZ", "1", str(control)],
        ]  # fmt: skip
        made = [Written(str(segment[0]), *(_trimmed(element) for element in segment[1:])) for segment in whole]
        text = Serializer(Characters.from_str(ADVICE)).serialize(made)
        charset = "ascii" if self.syntax[0] in ("UNOA", "UNOB") else CHARSETS[self.syntax[0]]
        try:
            return text.encode(charset)
        except UnicodeEncodeError as error:
            found = text[error.start : error.start + 10]
            why = f"the character set {self.syntax[0]} cannot hold {found!r}; agree on UNOY or UNOW with the partner"
            raise ValueError(why) from None

    # Orders ---------------------------------------------------------------------------------------------------

    def order(self, po: PurchaseOrder, key: str, control: int, now: datetime) -> bytes:
        """The ORDERS message. Raises ValueError for an order that cannot be written."""
        if not 1 <= len(key) <= 35 or _CONTROL.search(key):
            raise ValueError(f"the order number {key[:40]!r} does not fit into an EDIFACT order (35 characters)")
        currencies = {line.currency for line in po.lines}
        if len(currencies) != 1:
            raise ValueError("an EDIFACT order has one currency")
        placed = po.placed_at.astimezone(self.zone)
        body: list[Sequence[Element]] = [
            ["BGM", "220", self.text(key, 35), "9"],
            ["DTM", ["137", f"{placed:%Y%m%d%H%M}", "203"]],
        ]
        if self.buyer:
            body.append(["NAD", "BY", [self.buyer, "", self.agency]])
        if self.supplier:
            body.append(["NAD", "SU", [self.supplier, "", self.agency]])
        body += self._deliver_to(po)
        body.append(["CUX", ["2", currencies.pop(), "9"]])
        for line in po.lines:
            body += self._line(line)
        body += [["UNS", "S"], ["CNT", ["2", str(len(po.lines))]]]
        return self.interchange(control, now, "ORDERS", body)

    def _line(self, line: PoLine) -> list[Sequence[Element]]:
        qualifier, article, unit = self._article(line)
        if not article or len(article) > 35 or _CONTROL.search(article):
            raise ValueError(f"the article number {article[:60]!r} does not fit into an EDIFACT order (35 characters)")
        made: list[Sequence[Element]] = []
        if qualifier in GTINS:
            made.append(["LIN", str(line.line_no), "", [article, qualifier]])
        else:
            made += [["LIN", str(line.line_no)], ["PIA", "5", [article, qualifier or "SA"]]]
        measure = [unit] if canonical(unit) != canonical(self.unit) else []
        made.append(["QTY", ["21", str(line.quantity), *measure]])
        made.append(["PRI", ["AAA", plain(line.unit_price)]])
        return made

    def _article(self, line: PoLine) -> tuple[str, str, str]:
        """(qualifier, number, unit): as the listing had them, otherwise as its SKU says."""
        found = _REF.fullmatch(line.vendor_ref or "")
        if found is not None and sku_of(found["number"], found["unit"], self.unit) == line.vendor_sku:
            return found["qualifier"], found["number"], found["unit"]
        article, unit = parts_of_sku(line.vendor_sku)
        return self.sku[0], article, unit or self.unit

    def _deliver_to(self, po: PurchaseOrder) -> list[Sequence[Element]]:
        to = po.ship_to
        street = _pieces(self.text(" ".join(part for part in (to.district, to.address) if part), 10_000), 35)
        if len(street) > 4:
            raise ValueError("the address is longer than an EDIFACT order can hold (140 characters)")
        name = _pieces(self.text(to.name, 175), 35)
        party: list[Element] = [
            "NAD", "DP", "", "", name, street, self.text(to.city, 35), self.text(to.province, 9),
            self.text(to.postcode, 9), self.text(to.country, 3),
        ]  # fmt: skip
        made: list[Sequence[Element]] = [party]
        if to.phone:
            made += [["CTA", "IC", ["", self.text(to.name, 35)]], ["COM", [self.text(to.phone, 35), "TE"]]]
        return made

    def cancellation(self, sent: Sent, control: int, now: datetime) -> bytes:
        """The ORDCHG that cancels a whole order."""
        local = now.astimezone(self.zone)
        body: list[Sequence[Element]] = [
            ["BGM", "230", str(control), "1"],
            ["DTM", ["137", f"{local:%Y%m%d%H%M}", "203"]],
            ["RFF", ["ON", sent.po_number]],
        ]
        if self.buyer:
            body.append(["NAD", "BY", [self.buyer, "", self.agency]])
        if self.supplier:
            body.append(["NAD", "SU", [self.supplier, "", self.agency]])
        body.append(["UNS", "S"])
        return self.interchange(control, now, "ORDCHG", body)

    # Acknowledgements -----------------------------------------------------------------------------------------

    def receipt(self, scan: Scan, file: IO[bytes], control: int, now: datetime, *, always: bool) -> bytes | None:
        """The CONTRL for a file that came: its interchange is taken (7), or refused (4) with what is wrong. None for
        acknowledgements, for strangers, and where the sender did not ask (0031) and the settings do not insist."""
        kinds = {one.kind.partition(":")[0] for group in scan.groups for one in group.sets}
        if scan.stranger or kinds == {"CONTRL"} or not (always or scan.wants_receipt):
            return None
        unb = next((segment for _, segment in walk(file, "latin-1") if segment.tag == "UNB"), None)
        if unb is None:
            return None
        sender, recipient = (list(unb.elements[n]) for n in (1, 2))
        refused = bool(scan.refused)
        body: list[Sequence[Element]] = [
            ["UCI", scan.control, sender, recipient, "4" if refused else "7", *(["18"] if refused else [])]
        ]
        if refused:
            for group in scan.groups[:1]:
                for one in group.sets:
                    if one.fatal:
                        body.append(["UCM", one.control, one.kind.split(":"), "4", one.error or "18"])
        return self.interchange(control, now, "CONTRL", body)

    # Our own copies -------------------------------------------------------------------------------------------

    def own(self, data: bytes) -> Sent:
        """Read back an ORDERS or an ORDCHG that we wrote."""
        control, key, at = "", "", datetime(1970, 1, 1, tzinfo=UTC)
        lines: list[SentLine] = []
        part: list[Segment] = []

        def close() -> None:
            if part:
                lines.append(self._sent(part))
                part.clear()

        for place, segment in walk(io.BytesIO(data)):
            if segment.tag == "UNB":
                control = segment.get(5).lstrip("0") or "0"
                day, form = segment.get(4), "%Y%m%d%H%M" if len(segment.get(4)) == 8 else "%y%m%d%H%M"
                written = datetime.strptime(day + segment.get(4, 2), form)  # noqa: DTZ007 - zoned here
                at = written.replace(tzinfo=self.zone).astimezone(UTC)
            elif segment.tag == "BGM" and place.kind == "ORDERS":
                key = segment.get(2)
            elif segment.tag == "RFF" and segment.get(1) == "ON":
                key = segment.get(1, 2)
            elif segment.tag in ("LIN", "UNS"):
                close()
                part += [segment] if segment.tag == "LIN" else []
            elif part:
                part.append(segment)
        return Sent(control, key, at, tuple(lines))

    def _sent(self, part: list[Segment]) -> SentLine:
        article, _ = article_number(ids_of(part[0], part), (*self.sku, *GTINS, "SA"))
        quantity, price = Decimal(0), Decimal(0)
        unit = self.unit
        for segment in part:
            if segment.tag == "QTY":
                quantity, unit = number_of(segment.get(1, 2)) or Decimal(0), segment.get(1, 3) or self.unit
            elif segment.tag == "PRI":
                price = number_of(segment.get(1, 2)) or Decimal(0)
        return SentLine(part[0].get(1), sku_of(article or "", unit, self.unit), quantity, price)

    def text(self, value: str, most: int) -> str:
        """A free text, in capitals where the character set has no others."""
        said = " ".join(_CONTROL.sub(" ", value).split())
        if self.syntax[0] == "UNOA":
            said = said.upper()
            if said.isascii():
                said = _NOT_A.sub(" ", said)
        return said[:most].strip()


def _trimmed(element: Element) -> Element:
    if isinstance(element, str):
        return element
    parts = list(element)
    while len(parts) > 1 and not parts[-1]:
        parts.pop()
    return parts if len(parts) > 1 else parts[0] if parts else ""


def _pieces(value: str, size: int) -> list[str]:
    return [value[at : at + size] for at in range(0, len(value), size)] or [""]
