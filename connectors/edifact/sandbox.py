"""A stand-in for a pharmacy wholesaler that speaks EDIFACT over SFTP: it leaves a catalogue and an inventory report,
reads our orders the moment they are there, and answers as it is told to. Written from the message definitions and from
the guides that README.md names, with its own plain reading of what we send."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from connectors.mailbox_sandbox import SftpSandbox
from connectors.sandbox_kit import Faults
from hub.kernel import clock

UNSOLD = "M-404"  # it refuses orders for this article
US, THEM = "6900000000014", "4012345000016"
INBOX, OUTBOX = "from_partner", "to_partner"
_ENDS = re.compile(r"(?<!\?)'")


class EdifactSandbox(SftpSandbox):
    """A wholesaler with `articles` articles. `answer` is what it does with orders: accept, reject, backorder (all of
    it), short (it sends one of the first line), dearer, unreadable (a CONTRL that refuses) or nothing. `cancels` says
    whether it takes a cancellation: yes or nothing."""

    def __init__(
        self, faults: Faults | None = None, *, root: Path | None = None, articles: int = 30, answer: str = "accept"
    ) -> None:
        super().__init__(faults, root=root)
        self.answer = answer
        self.cancels = "yes"
        self.orders: dict[str, list[str]] = {}  # by number, as segments
        self.cancelled: set[str] = set()
        self.refused: set[str] = set()
        self.acknowledged: list[list[str]] = []  # the CONTRLs that we sent
        self._number = 500
        self.put(f"{OUTBOX}/.keep", b"")
        self.put(f"{INBOX}/.keep", b"")
        if articles:
            self.leave("pricat.edi", [catalogue(range(1, articles + 1))])
            self.leave("invrpt.edi", [inventory(range(1, articles + 1))])

    def envelope(
        self, messages: Sequence[Sequence[str]], number: str = "", *, syntax: str = "UNOY:3", ask: bool = False
    ) -> bytes:
        """Messages as the wholesaler wraps them. Each is its segments, beginning with its identity."""
        if not number:
            self._number += 1
            number = f"W{self._number}"
        now = clock.now()
        day = f"{now:%Y%m%d}" if syntax.endswith("4") else f"{now:%y%m%d}"
        lines = ["UNA:+.? ", f"UNB+{syntax}+{THEM}:14+{US}:14+{day}:{now:%H%M}+{number}" + ("++++1" if ask else "")]
        for n, body in enumerate(messages, 1):
            identity, *segments = body
            lines += [f"UNH+{n}+{identity}", *segments, f"UNT+{len(segments) + 2}+{n}"]
        lines.append(f"UNZ+{len(messages)}+{number}")
        charset = "latin-1" if syntax.startswith("UNOC") else "utf-8"
        return "'\n".join([*lines, ""]).encode(charset)

    def leave(self, name: str, messages: Sequence[Sequence[str]], number: str = "", **how: object) -> Path:
        """Leave a file for the hub."""
        return self.put(f"{INBOX}/{name}", self.envelope(messages, number, **how))  # type: ignore[arg-type]

    # What it does with ours -----------------------------------------------------------------------------------

    def acts(self, path: str) -> bool:
        return path.startswith(f"/{OUTBOX}/") and not path.rpartition("/")[2].startswith(".")

    def collect(self) -> None:
        """Read what lies in the outbox: for a mailbox that is a directory, where nothing tells of a new file."""
        for file in sorted((self.root / OUTBOX).iterdir()):
            if self.acts(f"/{OUTBOX}/{file.name}"):
                self.received(f"/{OUTBOX}/{file.name}")

    def received(self, path: str) -> None:
        """Read a file of ours and take it away, as a wholesaler's system does."""
        file = self.root / path.lstrip("/")
        raw = file.read_bytes()
        charset = "latin-1" if b"UNOC" in raw[:30] else "utf-8"
        segments = [one for one in _ENDS.split(raw.decode(charset)[9:]) if one]
        file.unlink()
        kind = next(one.split("+")[2].split(":")[0] for one in segments if one.startswith("UNH"))
        if kind == "ORDERS":
            self._ordered(segments)
        elif kind == "ORDCHG":
            self._asked_to_cancel(segments)
        else:
            self.acknowledged.append(segments)

    def _ordered(self, segments: list[str]) -> None:
        [number] = [one.split("+")[2] for one in segments if one.startswith("BGM+220")]
        assert number not in self.orders, "the same order came twice"
        self.orders[number] = segments
        reference = segments[0].split("+")[5]
        if self.answer == "nothing":
            return
        action = "4" if self.answer == "unreadable" else "7"
        body = ["CONTRL:D:3:UN", f"UCI+{reference}+{US}:14+{THEM}:14+{action}"]
        if self.answer == "unreadable":
            self.refused.add(number)
            body += ["UCM+1+ORDERS:D:96A:UN:EAN008+4+13", "UCS+9", "UCD+13+2"]
        self.leave(f"contrl_{number}.edi", [body])
        if self.answer != "unreadable":
            unsold = any(line["article"] == UNSOLD for line in self.lines(number))
            self.respond(number, "reject" if unsold else self.answer)

    def respond(self, number: str, answer: str) -> None:
        """Leave an ORDRSP for an order."""
        function = {"accept": "29", "reject": "27"}.get(answer, "4")
        now = clock.now()
        body = [
            "ORDRSP:D:96A:UN:EAN007", f"BGM+231+R{number[-8:]}+{function}", f"DTM+137:{now:%Y%m%d%H%M}:203",
            f"RFF+ON:{number}", f"RFF+VN:SO-{number[-6:]}",
        ]  # fmt: skip
        for position, line in enumerate(self.lines(number)):
            code = {"accept": "5", "reject": "7", "backorder": "3"}.get(answer, "5" if position else "3")
            quantity, price = line["quantity"], line["price"]
            if answer == "short" and not position:
                quantity = "1"
            if answer == "dearer" and not position:
                price = f"{float(price) + 1:.2f}"
            body += [f"LIN+{line['no']}+{code}", f"PIA+5+{line['article']}:SA", f"QTY+21:{line['quantity']}"]
            body += [f"QTY+83:{quantity}"] if answer == "backorder" else [f"QTY+113:{quantity}"]
            body.append(f"PRI+AAA:{price}")
        self.leave(f"ordrsp_{number}_{answer}.edi", [[*body, "UNS+S"]])
        if answer == "reject":
            self.refused.add(number)

    def lines(self, number: str) -> list[dict[str, str]]:
        """The lines of an order as this reading of it has them."""
        found: list[dict[str, str]] = []
        for one in self.orders[number]:
            parts = one.split("+")
            if parts[0] == "LIN":
                found.append({"no": parts[1], "article": parts[3].split(":")[0] if len(parts) > 3 else ""})
            elif parts[0] == "PIA":
                found[-1]["article"] = parts[2].split(":")[0]
            elif parts[0] == "QTY":
                found[-1]["quantity"] = parts[1].split(":")[1]
            elif parts[0] == "PRI":
                found[-1]["price"] = parts[1].split(":")[1]
        return found

    def _asked_to_cancel(self, segments: list[str]) -> None:
        [number] = [one.split(":")[1] for one in segments if one.startswith("RFF+ON")]
        assert number in self.orders, "a cancellation of an order that never came"
        if self.cancels == "nothing":
            return
        self.cancelled.add(number)
        body = ["ORDRSP:D:96A:UN:EAN007", f"BGM+231+C{number[-8:]}+1", f"RFF+ON:{number}", "UNS+S"]
        self.leave(f"cancelled_{number}.edi", [body])

    def ship(self, number: str, tracking: Sequence[str], name: str = "") -> None:
        """Leave a DESADV: one package for each tracking number."""
        now = clock.now()
        body = [
            "DESADV:D:96A:UN:EAN005", f"BGM+351+DES{number[-6:]}+9", f"DTM+137:{now:%Y%m%d%H%M}:203",
            f"DTM+11:{now:%Y%m%d%H%M}:203", f"RFF+ON:{number}", "TDT+20++30+31+:::SF EXPRESS", "CPS+1",
        ]  # fmt: skip
        for n, one in enumerate(tracking, 2):
            body += [f"CPS+{n}+1", "PAC+1++CT", "PCI+33E", f"GIN+BJ+34012345000000{n:04d}", f"RFF+CN:{one}"]
            body += [f"LIN+{n - 1}", "QTY+12:1"]
        self.leave(name or f"desadv_{number}.edi", [body])

    def living(self, number: str) -> int:
        """How many orders of this number it would send."""
        return int(number in self.orders and number not in self.cancelled and number not in self.refused)


def catalogue(
    numbers: Sequence[int] | range, *, function: str = "9", price: str = "12.50", number: str = ""
) -> list[str]:
    """A PRICAT with these articles."""
    now = clock.now()
    body = ["PRICAT:D:96A:UN:EAN008", f"BGM+9+PL{now:%Y%m%d%H%M%S}+{function}", f"DTM+137:{now:%Y%m%d}:102"]
    body += [f"RFF+PL:{number}"] if number else []
    body += [f"NAD+BY+{US}::9", f"NAD+SU+{THEM}::9", "CUX+2:CNY:9"]
    for n in numbers:
        body += [
            f"LIN+{n}++{gtin(n)}:SRV", f"PIA+1+M-{n}:SA", f"IMD+F++:::布洛芬片 0.2g 第{n}号::ZH",
            f"IMD+F++:::Ibuprofen tablets no. {n}::EN", "QTY+59:1", f"PRI+AAA:{price}:CT:NTP", "PRI+AAE:19,90::SRP",
        ]  # fmt: skip
    return [*body, "UNS+S"]


def inventory(numbers: Sequence[int] | range, *, function: str = "9", count: int = 40) -> list[str]:
    """An INVRPT with these articles."""
    now = clock.now()
    body = ["INVRPT:D:96A:UN:EAN004", f"BGM+35+INV{now:%H%M%S}+{function}", f"DTM+137:{now:%Y%m%d%H%M%S}:204"]
    body += [f"NAD+WH+{THEM}::9"]
    for n in numbers:
        body += [f"LIN+{n}++{gtin(n)}:SRV", f"PIA+1+M-{n}:SA", f"QTY+145:{count + n}", "QTY+198:7"]
    return [*body, "UNS+S"]


def gtin(n: int) -> str:
    """A valid GTIN-13."""
    digits = f"690123{n:06d}"
    total = sum(int(digit) * (3 if at % 2 else 1) for at, digit in enumerate(digits))
    return digits + str(-total % 10)
