"""A connection to one EDIFACT partner. What files do is in connectors.edi; this says how the partner writes them."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.contracts import PurchaseOrder
from connectors.edi.models import Fact, Scan, Sent
from connectors.edi.orders import OrdersByFile
from connectors.edi.pulling import PullsFiles
from connectors.edifact import answers, catalogue, envelope
from connectors.edifact.writing import Writer
from hub.kernel.errors import Malformed, Misconfigured


class Edifact:
    """The dialect; see connectors.edi.models.Dialect."""

    def __init__(self, config: dict[str, Any]) -> None:
        ours = (str(config["our_id"]), str(config["our_qualifier"]))
        theirs = (str(config["partner_id"]), str(config["partner_qualifier"]))
        for name, _ in (ours, theirs):
            if not 1 <= len(name) <= 35:
                raise Misconfigured(
                    f"an EDIFACT interchange id has 1 to 35 characters, not {name!r}", code="bad_config"
                )
        zone, encoding = _zone(str(config["timezone"])), _encoding(str(config["encoding"] or ""))
        syntax, _, version = str(config["syntax"]).partition(":")
        release, _, association = str(config["version"]).partition(":")
        rules = envelope.Rules(
            ours=ours[0], theirs=theirs[0], encoding=encoding, strict=config["counts"] == "refuse",
            catalogues=str(config["catalogues"]), reports=str(config["stock_reports"]),
            several=bool(config["several_catalogues"]),
        )  # fmt: skip
        sku, unit = _codes(config["sku"]), str(config["unit"])
        self._rules = rules
        self._always = config["acknowledge_always"]
        self._reading = catalogue.Reading(
            rules=rules, sku=sku, prices=_codes(config["prices"]), market_prices=_codes(config["market_prices"]),
            on_hand=_codes(config["on_hand"]), unit=unit, currency=str(config["currency"]), zone=zone,
            breaks=config["quantity_breaks"] == "ignore",
        )  # fmt: skip
        self._wording = answers.Wording(sku, unit, zone, encoding, sscc=bool(config["sscc_is_tracking"]))
        self._writer = Writer(
            ours=ours, theirs=theirs, syntax=(syntax, version), version=(release, association),
            test=config["usage"] == "T", zone=zone, unit=unit, sku=sku, buyer=str(config["buyer_id"] or ""),
            supplier=str(config["supplier_id"] or ""), agency=str(config["id_agency"]),
        )  # fmt: skip

    def scan(self, file: IO[bytes]) -> Scan:
        return envelope.scan(file, self._rules)

    def catalogue(self, file: IO[bytes], today: str) -> Iterator[dict[str, Any]]:
        return catalogue.articles(file, self._reading, today)

    def stock(self, file: IO[bytes]) -> Iterator[dict[str, Any]]:
        return catalogue.stock(file, self._reading)

    def facts(self, file: IO[bytes]) -> list[Fact]:
        try:
            return answers.facts(file, self._wording)
        except (Malformed, UnicodeError):
            return []

    def order(self, po: PurchaseOrder, key: str, control: int, now: datetime) -> bytes:
        return self._writer.order(po, key, control, now)

    def cancellation(self, sent: Sent, control: int, now: datetime) -> bytes:
        return self._writer.cancellation(sent, control, now)

    def receipt(self, scan: Scan, file: IO[bytes], control: int, now: datetime) -> bytes | None:
        return self._writer.receipt(scan, file, control, now, always=self._always)

    def own(self, data: bytes) -> Sent:
        return self._writer.own(data)


class Adapter(PullsFiles, OrdersByFile):
    """One EDIFACT partner."""

    def dialect(self) -> Edifact:
        return Edifact(self.config)


def _codes(raw: object) -> tuple[str, ...]:
    return tuple(part.strip().upper() for part in str(raw or "").split(",") if part.strip())


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise Misconfigured(f"{name!r} is no time zone", code="bad_config") from None


def _encoding(name: str) -> str:
    """A character set that keeps EDIFACT's separators as the bytes that they are."""
    try:
        plain = not name or "+:?'".encode(name) == b"+:?'"
    except (LookupError, UnicodeError):
        plain = False
    if not plain or (name and codecs.lookup(name).name.startswith(("iso2022", "utf-7", "hz"))):
        raise Misconfigured(f"{name!r} is no encoding that EDIFACT can be read in", code="bad_config")
    return name
