"""A connection to one X12 partner. What files do is in connectors.edi; this says how the partner writes them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.contracts import PurchaseOrder
from connectors.edi.models import Fact, Scan, Sent
from connectors.edi.orders import OrdersByFile
from connectors.edi.pulling import PullsFiles
from connectors.x12_edi import answers, catalogue, envelope
from connectors.x12_edi.writing import Writer
from hub.kernel.errors import Malformed, Misconfigured


class X12:
    """The dialect; see connectors.edi.models.Dialect."""

    def __init__(self, config: dict[str, Any]) -> None:
        zone = _zone(str(config["timezone"]))
        ours = (str(config["our_qualifier"]), str(config["our_id"]))
        theirs = (str(config["partner_qualifier"]), str(config["partner_id"]))
        for _, name in (ours, theirs):
            if not 1 <= len(name) <= 15 or not name.isascii():
                raise Misconfigured(f"an X12 interchange id has 1 to 15 characters, not {name!r}", code="bad_config")
        rules = envelope.Rules(
            ours=ours[1], theirs=theirs[1], listings=str(config["listings"]), strict=config["counts"] == "refuse",
            catalogues=str(config["catalogues"]), reports=str(config["stock_reports"]),
            several=bool(config["several_catalogues"]),
        )  # fmt: skip
        sku, unit, currency = _codes(config["sku"]), str(config["unit"]), str(config["currency"])
        self._rules = rules
        self._reading = catalogue.Reading(
            rules=rules, sku=sku, prices=_codes(config["prices"]), market_prices=_codes(config["market_prices"]),
            on_hand=_codes(config["on_hand"]), unit=unit, currency=currency, zone=zone,
            breaks=config["quantity_breaks"] == "ignore",
        )  # fmt: skip
        self._wording = answers.Wording(sku, unit, currency, zone)
        self._writer = Writer(
            ours=ours, theirs=theirs, our_application=str(config["our_application"] or ours[1]),
            their_application=str(config["partner_application"] or theirs[1]), version=str(config["version"]),
            test=config["usage"] == "T", zone=zone, unit=unit, sku=sku, order_type=str(config["order_type"]),
            sales_requirement="" if config["sales_requirement"] == "none" else str(config["sales_requirement"]),
            buyer=(str(config["buyer_name"] or ""), str(config["buyer_qualifier"]), str(config["buyer_id"] or "")),
            routing=str(config["routing"] or ""),
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
        except Malformed:
            return []

    def order(self, po: PurchaseOrder, key: str, control: int, now: datetime) -> bytes:
        return self._writer.order(po, key, control, now)

    def cancellation(self, sent: Sent, control: int, now: datetime) -> bytes:
        return self._writer.cancellation(sent, control, now)

    def receipt(self, scan: Scan, file: IO[bytes], control: int, now: datetime) -> bytes | None:
        return self._writer.receipt(scan, file, control, now)

    def own(self, data: bytes) -> Sent:
        return self._writer.own(data)


class Adapter(PullsFiles, OrdersByFile):
    """One X12 partner."""

    def dialect(self) -> X12:
        return X12(self.config)


def _codes(raw: object) -> tuple[str, ...]:
    return tuple(part.strip().upper() for part in str(raw or "").split(",") if part.strip())


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise Misconfigured(f"{name!r} is no time zone", code="bad_config") from None
