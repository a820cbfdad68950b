"""A stand-in for a pharmacy wholesaler that speaks X12 over SFTP: it leaves a catalogue and an inventory, reads our
orders the moment they are there, and answers as it is told to. Written from the segment definitions and from partners'
guides that README.md names, with its own plain reading of what we send, so that it does not share our mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from connectors.mailbox_sandbox import SftpSandbox
from connectors.sandbox_kit import Faults
from hub.kernel import clock

UNSOLD = "70404"  # it refuses orders for this article
US, THEM = "SUPPLYHUB", "MEDWHOLESALE"
INBOX, OUTBOX = "from_partner", "to_partner"


class X12Sandbox(SftpSandbox):
    """A wholesaler with `articles` articles. `answer` is what it does with orders: accept, reject, backorder (all of
    it), short (it sends one of the first line), dearer, unreadable (a 997 that refuses) or nothing. `cancels` says
    whether it takes an 860: yes, no or nothing."""

    def __init__(
        self, faults: Faults | None = None, *, root: Path | None = None, articles: int = 30, answer: str = "accept"
    ) -> None:
        super().__init__(faults, root=root)
        self.articles = articles
        self.answer = answer
        self.cancels = "yes"
        self.orders: dict[str, list[list[str]]] = {}  # by number, as segments
        self.cancelled: set[str] = set()
        self.refused: set[str] = set()
        self.acknowledged: list[list[list[str]]] = []  # the 997s and TA1s that we sent
        self._number = 1000
        self.put(f"{OUTBOX}/.keep", b"")
        self.put(f"{INBOX}/.keep", b"")
        if articles:
            self.leave("price.edi", "SC", [catalogue(range(1, articles + 1))])
            self.leave("stock.edi", "IB", [inventory(range(1, articles + 1))])

    def envelope(self, group: str, sets: Sequence[Sequence[str]], number: int | None = None) -> bytes:
        """Transaction sets as the wholesaler wraps them. Each set is its segments, beginning with its type."""
        if number is None:
            self._number += 1
            number = self._number
        now = clock.now()
        lines = [
            f"ISA*00*{'':10}*00*{'':10}*ZZ*{THEM:15}*ZZ*{US:15}*{now:%y%m%d}*{now:%H%M}*U*00401*{number:09d}*0*P*>",
            f"GS*{group}*{THEM}*{US}*{now:%Y%m%d}*{now:%H%M}*{number}*X*004010",
        ]
        for n, body in enumerate(sets, 1):
            kind, *segments = body
            lines += [f"ST*{kind}*{n:04d}", *segments, f"SE*{len(segments) + 2}*{n:04d}"]
        lines += [f"GE*{len(sets)}*{number}", f"IEA*1*{number:09d}"]
        return "".join(line + "~\n" for line in lines).encode()

    def leave(self, name: str, group: str, sets: Sequence[Sequence[str]], number: int | None = None) -> Path:
        """Leave a file for the hub."""
        return self.put(f"{INBOX}/{name}", self.envelope(group, sets, number))

    # What it does with ours -----------------------------------------------------------------------------------

    def acts(self, path: str) -> bool:
        return path.startswith(f"/{OUTBOX}/") and not path.rpartition("/")[2].startswith(".")

    def received(self, path: str) -> None:
        """Read a file of ours and take it away, as a wholesaler's system does."""
        file = self.root / path.lstrip("/")
        segments = [line.split("*") for line in file.read_bytes().decode().split("~") if line.strip()]
        file.unlink()
        control = segments[0][13]
        kinds = {s[1] for s in segments if s[0] == "ST"}
        if "850" in kinds:
            self._ordered(segments, control)
        elif "860" in kinds:
            self._asked_to_cancel(segments)
        else:
            self.acknowledged.append(segments)

    def collect(self) -> None:
        """Read what lies in the outbox: for a mailbox that is a directory, where nothing tells of a new file."""
        for file in sorted((self.root / OUTBOX).iterdir()):
            if self.acts(f"/{OUTBOX}/{file.name}"):
                self.received(f"/{OUTBOX}/{file.name}")

    def _ordered(self, segments: list[list[str]], control: str) -> None:
        [number] = [s[3] for s in segments if s[0] == "BEG"]
        assert number not in self.orders, "the same order came twice"
        unsold = any(s[0] == "PO1" and s[7] == UNSOLD for s in segments)
        if self.answer == "unreadable":
            self.refused.add(number)
        self.orders[number] = segments
        if self.answer == "nothing":
            return
        refusal = ["AK3*PO1*8**8", "AK4*4*212*7", "AK5*R*5"] if self.answer == "unreadable" else ["AK5*A"]
        counts = "R*1*1*0" if self.answer == "unreadable" else "A*1*1*1"
        self.leave(
            f"997_{number}.edi", "FA", [["997", f"AK1*PO*{int(control)}", "AK2*850*0001", *refusal, f"AK9*{counts}"]]
        )
        if self.answer != "unreadable":
            self.acknowledge(number, "reject" if unsold else self.answer)

    def acknowledge(self, number: str, answer: str) -> None:
        """Leave an 855 for an order."""
        lines = [s for s in self.orders[number] if s[0] == "PO1"]
        header = {"reject": "RD", "accept": "AD"}.get(answer, "AC")
        body = ["855", f"BAK*00*{header}*{number}*{clock.now():%Y%m%d}****SO-{number[-6:]}*{clock.now():%Y%m%d}"]
        for position, po1 in enumerate(lines):
            line, quantity, unit, price, qualifier, sku = po1[1], po1[2], po1[3], po1[4], po1[6], po1[7]
            if answer == "dearer" and not position:
                price = f"{float(price) + 1:.2f}"
            body.append(f"PO1*{line}*{quantity}*{unit}*{price}**{qualifier}*{sku}")
            code = {"reject": "IR", "backorder": "IB", "dearer": "IP", "short": "IQ"}.get(answer, "IA")
            if answer in ("dearer", "short") and position:
                code = "IA"
            body.append(f"ACK*{code}*{1 if code == 'IQ' else quantity}*{unit}")
        self.leave(f"855_{number}_{answer}.edi", "PR", [[*body, f"CTT*{len(lines)}"]])
        if answer == "reject":
            self.refused.add(number)

    def _asked_to_cancel(self, segments: list[list[str]]) -> None:
        [number] = [s[3] for s in segments if s[0] == "BCH"]
        assert number in self.orders, "a cancellation of an order that never came"
        if self.cancels == "nothing":
            return
        code = "AT" if self.cancels == "yes" else "RJ"
        if self.cancels == "yes":
            self.cancelled.add(number)
        self.leave(f"865_{number}.edi", "CA", [["865", f"BCA*01*{code}*{number}***{clock.now():%Y%m%d}"]])

    def ship(self, number: str, tracking: Sequence[str], when: datetime | None = None, name: str = "") -> None:
        """Leave an 856: one pack for each tracking number."""
        at = when or clock.now()
        body = [
            "856", f"BSN*00*SH-{number[-6:]}*{at:%Y%m%d}*{at:%H%M}", "HL*1**S", "TD5*B*2*UPSN*M*UPS GROUND",
            f"DTM*011*{at:%Y%m%d}*{at:%H%M}", "HL*2*1*O", f"PRF*{number}",
        ]  # fmt: skip
        for n, one in enumerate(tracking, 3):
            body += [f"HL*{n}*2*P", f"MAN*CP*{one}", f"MAN*GM*0000123456789012{n:04d}"]
        self.leave(name or f"856_{number}.edi", "SH", [[*body, f"CTT*{len(tracking) + 2}"]])

    def living(self, number: str) -> int:
        """How many orders of this number it would send."""
        return int(number in self.orders and number not in self.cancelled and number not in self.refused)


def catalogue(
    numbers: Sequence[int] | range, *, purpose: str = "00", price: str = "4.85", name: str = "CAT1"
) -> list[str]:
    """An 832 with these articles."""
    body = ["832", f"BCT*PC*{name}********{purpose}", "CUR*SE*USD", f"N1*SE*{THEM}*9*0012345670000"]
    for n in numbers:
        body += [
            f"LIN*{n}*VN*{70000 + n}*UP*{upc(n)}*N4*00904{n:06d}",
            f"PID*F*08***Ibuprofen 200 mg tablets, no. {n}",
            "PO4*12*100*U2",
            f"CTP**CON*{price}*1*EA",
            "CTP**MSR*9.99*1*EA",
        ]
    return [*body, f"CTT*{len(numbers)}"]


def inventory(numbers: Sequence[int] | range, *, purpose: str = "00", count: int = 40) -> list[str]:
    """An 846 with these articles."""
    now = clock.now()
    body = ["846", f"BIA*{purpose}*SI*INV{now:%H%M%S}*{now:%Y%m%d}*{now:%H%M%S}", "N1*WH*LOUISVILLE*92*LOU"]
    for n in numbers:
        body += [f"LIN**VN*{70000 + n}*UP*{upc(n)}", f"QTY*33*{count + n}*EA", f"QTY*63*{n}*EA"]
    return [*body, f"CTT*{len(numbers)}"]


def upc(n: int) -> str:
    """A valid UPC."""
    digits = f"30090{n:06d}"
    odd, even = sum(map(int, digits[::2])), sum(map(int, digits[1::2]))
    return digits + str(-(3 * odd + even) % 10)
