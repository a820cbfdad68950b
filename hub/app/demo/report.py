"""The demo's report: one value, shown as tables for a procurement manager and written as JSON for a script."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from hub.app.demo.drill import Drill


class VendorRow(BaseModel):
    """One vendor's pull."""

    vendor: str
    vendor_en: str
    connector: str
    role: str
    seen: int
    created: int
    quarantined: int
    seconds: float
    calls_failed: int


class SearchRow(BaseModel):
    """One search as a mall would make it."""

    query: str
    hits: int
    first: str
    milliseconds: float


class FriendRow(BaseModel):
    """A listing without a barcode, and the product that it looked like."""

    listing: str
    product: str
    joined: bool
    because: str


class OrdersRow(BaseModel):
    placed: int
    split: int
    failed_over: int
    refused: int


class ParityRow(BaseModel):
    """Verdicts on offers; `unknown` counts every offer without a fresh reference."""

    model_config = {"populate_by_name": True}
    passed: int
    breach: int
    unknown: int
    cases_open: int
    held: int


class Share(BaseModel):
    numerator: int
    denominator: int

    def words(self) -> str:
        return f"{self.numerator}/{self.denominator}" + (
            f" = {self.numerator / self.denominator:.1%}" if self.denominator else ""
        )


class Report(BaseModel):
    """Everything the demo found, in the order in which it happened."""

    vendors: int
    listings: int
    products: int
    kinds: dict[str, int]
    skus_per_second: float
    duplicates_merged: int
    quarantined: int
    quarantine_reasons: dict[str, int]
    pulls: list[VendorRow]
    parity: ParityRow
    searches: list[SearchRow]
    friends: list[FriendRow]
    orders: OrdersRow
    orders_by_status: dict[str, int]
    oversold: int
    contended: Share
    webhooks_applied: int
    reserved_units: int
    open_hold_units: int
    ledger_equals_counters: bool
    delivery_72h: Share
    delivery_partition: dict[str, int]
    stockouts: Share
    visible_stockouts: Share
    invariants: dict[str, bool]
    seconds: dict[str, float]
    as_of: str
    drill: Drill | None = None

    @property
    def kept(self) -> bool:
        """Whether every promise of the report holds."""
        return all(self.invariants.values()) and (self.drill is None or all(self.drill.promises.values()))

    def as_json(self) -> dict[str, object]:
        """The report with the fixed names of the command's contract."""
        plain = self.model_dump(mode="json")
        plain["parity"]["pass"] = plain["parity"].pop("passed")
        return plain

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.as_json(), ensure_ascii=False, indent=1) + "\n")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=False)
    for column in columns:
        table.add_column(column.removeprefix(">"), justify="right" if column.startswith(">") else "left")
    return table


def show(report: Report, console: Console) -> None:
    """Print the report."""
    pulls = _table("1. Vendors pulled 供应商", "vendor", "connector", ">SKUs", ">new", ">refused rows", ">seconds")
    for row in report.pulls:
        name = f"{row.vendor} {row.vendor_en}" + (" (price reference)" if row.role == "reference" else "")
        pulls.add_row(name, row.connector, str(row.seen), str(row.created), str(row.quarantined), f"{row.seconds:.2f}")
    console.print(pulls)
    kinds = ", ".join(f"{kind} {count}" for kind, count in report.kinds.items())
    console.print(
        f"{report.listings} live listings of {report.vendors} vendors became {report.products} products ({kinds}); "
        f"{report.duplicates_merged} duplicates merged; {report.skus_per_second:,.0f} SKU/s while pulling.\n"
    )
    reasons = _table("2. Refused rows, kept with their reason 隔离", ">rows", "reason")
    for reason, count in sorted(report.quarantine_reasons.items(), key=lambda item: -item[1]):
        reasons.add_row(str(count), reason)
    console.print(reasons)
    parity = _table("3. Price parity 比价 (offers)", ">level", ">dearer than 5 %", ">unknown", ">cases", ">held back")
    p = report.parity
    parity.add_row(str(p.passed), str(p.breach), str(p.unknown), str(p.cases_open), str(p.held))
    console.print(parity)
    searches = _table("4. Searches 搜索", "query", ">hits", "first hit", ">ms")
    for search in report.searches:
        searches.add_row(search.query, str(search.hits), search.first, f"{search.milliseconds:.1f}")
    console.print(searches)
    friends = _table("5. A shop without barcodes 无条码匹配", "its words", "looked like", "one product", "because")
    for friend in report.friends:
        friends.add_row(friend.listing, friend.product, "yes" if friend.joined else "no", friend.because)
    console.print(friends)
    orders = _table(
        "6. Orders 订单", ">placed", ">split", ">failed over", ">refused", ">oversold", "sold of the scarce item"
    )
    o = report.orders
    orders.add_row(
        str(o.placed), str(o.split), str(o.failed_over), str(o.refused), str(report.oversold), report.contended.words()
    )
    console.print(orders)
    states = ", ".join(f"{status} {count}" for status, count in sorted(report.orders_by_status.items()))
    console.print(f"Order states: {states}. Stock pushes applied while orders ran: {report.webhooks_applied}.\n")
    delivery = _table(
        "7. Delivered within 72 h 72小时达", "attained", ">on time", ">late", ">open overdue", ">supply cancelled",
        ">eligible",
    )  # fmt: skip
    d = report.delivery_partition
    delivery.add_row(
        report.delivery_72h.words(), str(d["on_time"]), str(d["late"]), str(d["open_overdue"]),
        str(d["supply_cancelled"]), str(d["eligible"]),
    )  # fmt: skip
    console.print(delivery)
    stock = _table(
        "8. Stock-outs 缺货 (lines)", "first vendor", "seen by the customer", ">reserved units", "ledger = counters"
    )
    stock.add_row(
        report.stockouts.words(),
        report.visible_stockouts.words(),
        f"{report.reserved_units} (holds {report.open_hold_units})",
        "yes" if report.ledger_equals_counters else "NO",
    )
    console.print(stock)
    promises = _table("9. Promises 承诺", "promise", "kept")
    for name, holds in report.invariants.items():
        promises.add_row(name.replace("_", " "), "yes" if holds else "[bold red]NO[/]")
    console.print(promises)
    times = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report.seconds.items())
    console.print(f"As of {report.as_of}. Took: {times}.")
