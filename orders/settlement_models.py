"""What is sent and shown about settlement."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from hub.kernel.types import Currency, Input, SafeText, View, public_id
from orders import store
from orders.settlement.lists import RowResult
from orders.settlement.rules import CaseKind

Id = Annotated[int, Field(ge=1, le=2**62, strict=True)]
QueryId = Annotated[int, Field(ge=1, le=2**62)]
Cursor = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]
Limit = Annotated[int, Field(ge=1, le=200)]
Day = Annotated[date, Field(ge=date(2000, 1, 1), lt=date(2200, 1, 1))]
Month = Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")]
Reason = Annotated[SafeText, StringConstraints(min_length=1, max_length=500)]
Share = Annotated[Decimal, Field(ge=0, le=1, decimal_places=6)]
TaxRate = Annotated[Decimal, Field(ge=0, lt=1, decimal_places=6)]
Amount = Annotated[Decimal, Field(ge=Decimal("-99999999"), le=Decimal("99999999"), decimal_places=4)]
PoId = Annotated[str, StringConstraints(pattern=r"^po_[0-9a-f]{32}$")]


def month_of(text: str) -> date:
    return date(int(text[:4]), int(text[5:]), 1)


class ListQuery(Input):
    """`from` and `to`: the days (Asia/Shanghai) whose orders the list names in full. Without them the list is only held
    against the orders it names, and what it does not name is not missing."""

    from_: Annotated[Day | None, Field(alias="from")] = None
    to: Day | None = None

    @model_validator(mode="after")
    def _both(self) -> ListQuery:
        if (self.from_ is None) != (self.to is None):
            raise ValueError("give from and to, or neither")
        if self.from_ is not None and self.to is not None and self.from_ > self.to:
            raise ValueError("from is after to")
        return self

    @property
    def days(self) -> tuple[date, date] | None:
        return (self.from_, self.to) if self.from_ is not None and self.to is not None else None


class StaffListQuery(ListQuery):
    vendor: QueryId


class ListReport(View):
    """What became of each row of an uploaded list, in order. `row` does not count the header."""

    results: list[RowResult]


class PageQuery(Input):
    """A page: `after` is the `next` of the page before."""

    after: Cursor | None = None
    limit: Limit = 50


class RowQuery(PageQuery):
    vendor: QueryId | None = None


class RowView(View):
    """A row of a vendor's list that waits for a person, with the row as it came."""

    id: str
    vendor_id: int
    number: str | None
    sku: str | None
    amount: Decimal | None
    currency: str | None
    status: str
    reason: str | None
    first_seen_at: datetime
    raw: str


class RowPage(View):
    items: list[RowView]
    next: str | None


class RowDecided(View):
    """A row after somebody's decision."""

    id: str
    state: Literal["matched", "discarded"]


class MatchIn(Input):
    """The purchase order that the row is about."""

    po: PoId


class ReasonIn(Input):
    reason: Reason


class RunIn(Input):
    """Reconcile a vendor up to the end of a day (24:00 Asia/Shanghai) that is over."""

    vendor_id: Id
    day: Day


class RunQuery(PageQuery):
    vendor: QueryId | None = None


class RunView(View):
    """A run. Of the purchase orders looked at, how many agree; and what it did to cases: `opened`, `changed`,
    `reopened`, `cleared`; `still_open` and `accepted` were found as they are known."""

    id: str
    vendor_id: int
    day: date
    state: str
    figures: dict[str, int]
    started_at: datetime
    finished_at: datetime | None


class RunPage(View):
    items: list[RunView]
    next: str | None


class OwnSettlementCaseQuery(PageQuery):
    state: Literal["open", "resolved"] | None = None
    kind: CaseKind | None = None


class SettlementCaseQuery(OwnSettlementCaseQuery):
    vendor: QueryId | None = None


class OwnSettlementCase(View):
    """A disagreement. `number` is ours, or for `missing_here` the vendor's."""

    id: str
    kind: str
    purchase_order: str | None
    number: str
    sku: str | None
    state: str
    ours: dict[str, str]
    theirs: dict[str, str]
    opened_at: datetime
    resolution: str | None
    resolved_at: datetime | None
    times_reopened: int


class SettlementCase(OwnSettlementCase):
    """As the staff see it, with who works at it and all that happened."""

    vendor_id: int
    assignee: str | None
    log: list[dict[str, Any]]


class OwnSettlementCases(View):
    items: list[OwnSettlementCase]
    next: str | None


class SettlementCases(View):
    items: list[SettlementCase]
    next: str | None


class NoteIn(Input):
    """A note, a person to work at it, or both."""

    note: Reason | None = None
    assignee: Annotated[SafeText, StringConstraints(min_length=1, max_length=100)] | None = None

    @model_validator(mode="after")
    def _something(self) -> NoteIn:
        if self.note is None and self.assignee is None:
            raise ValueError("give note or assignee")
        return self


class ResolveIn(Input):
    """`accepted`: the difference stands as it is. `corrected`: a side puts it right; the vendor's next list will
    show."""

    resolution: Literal["accepted", "corrected"]
    reason: Reason


class TermsIn(Input):
    """Terms agreed with a vendor, for orders placed from `valid_from` to `valid_to` (inclusive, Asia/Shanghai). A
    deduction for late delivery is `late_share` of the late line's amount or `late_amount`, once a late `line` or
    per begun `day`, and at most `late_cap` of the line's amount. `tax_rate`: prices contain tax at this rate."""

    vendor_id: Id
    valid_from: Day
    valid_to: Day | None = None
    late_per: Literal["line", "day"] | None = None
    late_share: Share | None = None
    late_amount: Annotated[Decimal, Field(gt=0, le=Decimal("999999"), decimal_places=4)] | None = None
    late_cap: Share | None = None
    tax_rate: TaxRate | None = None
    currency: Currency = "CNY"
    agreed: Reason

    @model_validator(mode="after")
    def _make_sense(self) -> TermsIn:
        if self.valid_to is not None and self.valid_to < self.valid_from:
            raise ValueError("valid_to is before valid_from")
        given = sum(value is not None for value in (self.late_share, self.late_amount))
        if given != (1 if self.late_per else 0):
            raise ValueError("give late_per with late_share or late_amount, or none of them")
        return self


class TermsQuery(Input):
    vendor: QueryId


class TermsView(View):
    id: str
    vendor_id: int
    valid_from: date
    valid_to: date | None
    late_per: str | None
    late_share: Decimal | None
    late_amount: Decimal | None
    late_cap: Decimal | None
    tax_rate: Decimal | None
    currency: str
    agreed: str
    set_at: datetime


class TermsList(View):
    items: list[TermsView]


class PartyIn(Input):
    """A vendor or a mall: exactly one."""

    vendor_id: Id | None = None
    mall_id: Id | None = None

    @model_validator(mode="after")
    def _one(self) -> PartyIn:
        if (self.vendor_id is None) == (self.mall_id is None):
            raise ValueError("give vendor_id or mall_id, exactly one of them")
        return self


class AdjustmentIn(PartyIn):
    """An amount for the party's next statement; below zero takes it off."""

    kind: Literal["refund", "return", "compensation", "correction"]
    amount: Amount
    currency: Currency = "CNY"
    reason: Reason
    po: PoId | None = None
    case: Annotated[str, StringConstraints(pattern=r"^stc_[0-9]{1,18}$")] | None = None

    @model_validator(mode="after")
    def _not_nothing(self) -> AdjustmentIn:
        if not self.amount:
            raise ValueError("the amount is zero")
        return self


class AdjustmentView(View):
    id: str
    vendor_id: int | None
    mall_id: int | None
    kind: str
    amount: Decimal
    currency: str
    number: str | None
    reason: str
    made_at: datetime


class AdjustmentPage(View):
    items: list[AdjustmentView]
    next: str | None


class StatementIn(PartyIn):
    """Draft a month's statements anew. A month that was issued needs a `reason`: the drafts are its next version."""

    month: Month
    reason: Reason | None = None


class StatementQuery(PageQuery):
    vendor: QueryId | None = None
    mall: QueryId | None = None


class StatementView(View):
    """A statement's figures: net = goods + corrections + adjustments + deductions, exactly the sum of its lines;
    payable = net + rounding, in whole coins. `tax` is contained in the lines that say it; null when none does."""

    id: str
    vendor_id: int | None
    mall_id: int | None
    party_name: str
    month: str
    currency: str
    version: int
    state: str
    cutoff_at: datetime
    lines: int
    goods: Decimal
    corrections: Decimal
    adjustments: Decimal
    deductions: Decimal
    net: Decimal
    rounding: Decimal
    payable: Decimal
    tax: Decimal | None
    lines_without_tax: int
    reason: str | None
    drafted_at: datetime
    issued_at: datetime | None
    previous_hash: str | None
    hash: str | None


class StatementList(View):
    items: list[StatementView]


class StatementPage(View):
    items: list[StatementView]
    next: str | None


class FileQuery(Input):
    format: Literal["csv", "xlsx"] = "csv"
    lang: Literal["zh", "en"] = "zh"


def statement_view(row: store.Row) -> StatementView:
    return StatementView(
        **{**dict(row), "id": public_id("stm", row["id"]), "month": f"{row['month']:%Y-%m}"},
    )


def case_view(row: store.Row) -> SettlementCase:
    made = {
        **dict(row),
        "id": public_id("stc", row["id"]),
        "purchase_order": public_id("po", row["po_id"]) if row["po_id"] is not None else None,
        "sku": row["sku"] or None,
    }
    return SettlementCase(**made)


def run_view(row: store.Row) -> RunView:
    return RunView(**{**dict(row), "id": public_id("run", row["id"])})
