"""When an order looks abnormal. Pure: rules and figures in, findings out; it knows neither the database nor the
clock. A mall's rules are its own, none by default; each flags an order for a person to look at, or holds it until
one did."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from hub.kernel.types import Currency, Input, SafeText

LONGEST_WINDOW_S = 30 * 86_400
LONGEST_HOLD_S = 48 * 3600  # well inside the 72 hours, which a hold does not stop
COUNTED = 5_000  # orders of one window that are looked at; no limit may lie above

RuleName = Annotated[SafeText, StringConstraints(min_length=1, max_length=60)]
Window = Annotated[int, Field(ge=60, le=LONGEST_WINDOW_S, strict=True)]
Amount = Annotated[Decimal, Field(gt=0, le=Decimal("99999999"), decimal_places=4)]


class _Rule(Input):
    name: RuleName
    action: Literal["flag", "hold"] = "flag"


class Drain(_Rule):
    """One employee takes more than `units` of one product within the window while fewer than `scarce_below` units are
    left of the listing that serves it. Needs `employee_ref`; units of cancelled lines do not count."""

    kind: Literal["drain"]
    window_s: Window
    units: Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
    scarce_below: Annotated[int, Field(ge=1, le=1_000_000_000, strict=True)]


class Velocity(_Rule):
    """More than `orders` orders, or orders of more than `amount`, within the window: by one employee, to one
    address, or of the whole mall. Cancelled orders count: ordering and cancelling in a loop is what it looks for."""

    kind: Literal["velocity"]
    per: Literal["employee", "address", "mall"]
    window_s: Window
    orders: Annotated[int, Field(ge=1, lt=COUNTED, strict=True)] | None = None
    amount: Amount | None = None
    currency: Currency = "CNY"

    @model_validator(mode="after")
    def _limits_something(self) -> Velocity:
        if (self.orders is None) == (self.amount is None):
            raise ValueError("give orders or amount, exactly one of them")
        return self


class SharedAddress(_Rule):
    """More than `employees` different employees send to one address (as `plain_address` reads it) within the window."""

    kind: Literal["shared_address"]
    window_s: Window
    employees: Annotated[int, Field(ge=1, lt=COUNTED, strict=True)]


class LargeValue(_Rule):
    """One order of more than `amount`."""

    kind: Literal["large_value"]
    amount: Amount
    currency: Currency = "CNY"


Rule = Annotated[Drain | Velocity | SharedAddress | LargeValue, Field(discriminator="kind")]


class RuleSet(Input):
    """A mall's rules, and what becomes of a held order that nobody decided about in time."""

    rules: Annotated[list[Rule], Field(max_length=20)]
    deadline_s: Annotated[int, Field(ge=900, le=LONGEST_HOLD_S, strict=True)] = 24 * 3600
    at_deadline: Literal["refuse", "release"] = "refuse"

    @model_validator(mode="after")
    def _names_differ(self) -> RuleSet:
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError("two rules have the same name")
        return self


@dataclass(frozen=True, slots=True)
class Seen:
    """What one rule's window held before this order."""

    orders: int = 0
    amount: Decimal = Decimal(0)  # in the rule's currency
    employees: int = 0  # different ones, this order's own among them when it has one
    units: Mapping[int, int] = field(default_factory=dict)  # taken before by the same employee, by product


@dataclass(frozen=True, slots=True)
class Asked:
    """This order, as far as rules look at it. `left` is what its listings still have after it; None: no count."""

    amount: Decimal
    currency: str
    units: Mapping[int, int]
    left: Mapping[int, int | None]
    has_employee: bool
    has_address: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that an order broke, with the figure and its limit."""

    rule: str
    kind: str
    holds: bool
    figure: str
    limit: str
    window_s: int | None
    detail: str

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def judge(rules: Sequence[Rule], seen: Mapping[str, Seen], order: Asked) -> list[Finding]:
    """The rules that this order breaks together with what was `seen` (by rule name) before it."""
    return [found for rule in rules if (found := _judge(rule, seen.get(rule.name, Seen()), order)) is not None]


def _judge(rule: Rule, seen: Seen, order: Asked) -> Finding | None:
    match rule:
        case LargeValue():
            if order.currency == rule.currency and order.amount > rule.amount:
                return _found(rule, order.amount, rule.amount, None, f"one order of {order.amount} {order.currency}")
        case Velocity():
            if not _applies(rule.per, order):
                return None
            if rule.orders is not None and seen.orders + 1 > rule.orders:
                return _found(rule, seen.orders + 1, rule.orders, rule.window_s, f"orders per {rule.per}")
            if rule.amount is not None and order.currency == rule.currency and seen.amount + order.amount > rule.amount:
                total = seen.amount + order.amount
                return _found(rule, total, rule.amount, rule.window_s, f"{rule.currency} per {rule.per}")
        case SharedAddress():
            if order.has_address and seen.employees > rule.employees:
                return _found(rule, seen.employees, rule.employees, rule.window_s, "employees at one address")
        case Drain():
            return _drained(rule, seen, order)
    return None


def _drained(rule: Drain, seen: Seen, order: Asked) -> Finding | None:
    if not order.has_employee:
        return None
    for product_id, units in sorted(order.units.items()):
        total, left = seen.units.get(product_id, 0) + units, order.left.get(product_id)
        if total > rule.units and left is not None and left < rule.scarce_below:
            detail = f"units of prd_{product_id} by one employee, {left} left"
            return _found(rule, total, rule.units, rule.window_s, detail)
    return None


def _applies(per: str, order: Asked) -> bool:
    return {"employee": order.has_employee, "address": order.has_address, "mall": True}[per]


def _found(rule: Rule, figure: Decimal | int, limit: Decimal | int, window_s: int | None, detail: str) -> Finding:
    return Finding(rule.name, rule.kind, rule.action == "hold", str(figure), str(limit), window_s, detail)


_PROVINCE = re.compile(r"(?:特别行政区|(?:壮族|回族|维吾尔)?自治区|省|市)$")
_DIGITS = str.maketrans("〇零一二三四五六七八九两", "001234567892")
_CHINESE_NUMBER = re.compile(r"[〇零一二三四五六七八九两十百]+(?=\s*(?:号|弄|栋|幢|座|楼|层|单元|室|房|期|区))")
_PARTS = re.compile(r"(?:号楼|号院|号|弄|栋|幢|座|单元|楼|层|室|房间|房|#)")


def plain_address(country: str, province: str, city: str, district: str, address: str) -> str:
    """An address as two spellings of it are compared: full and half width, case, spaces, punctuation, the words between
    the numbers of a house (号, 栋, 单元, 室 …), Chinese numerals before these, and a region that is written twice do
    not count. Empty without a street. It errs towards telling addresses apart: it knows no map."""
    street = _folded(address)
    if not street.strip("-"):
        return ""
    regions: list[str] = []
    for name in (province, city, district):
        folded = _folded(name).strip("-")
        short = _PROVINCE.sub("", folded) or folded
        if short and (not regions or regions[-1] != short):
            regions.append(short)
        for spelling in (folded, short):
            if spelling and street.startswith(spelling) and len(street) > len(spelling):
                rest = street[len(spelling) :]
                street = rest.removeprefix("省").removeprefix("市") or street
                break
    return "/".join([country.casefold(), *regions, re.sub("-+", "-", street).strip("-")])


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    folded = _CHINESE_NUMBER.sub(lambda found: _number(found[0]), folded)
    folded = _PARTS.sub("-", folded)
    folded = re.sub(r"(?<=[0-9])[^\w]+(?=[0-9])", "-", folded)  # a gap between two numbers parts them
    return re.sub(r"[^\w-]+|_", "", folded)


def _number(chinese: str) -> str:
    """The digits of a Chinese numeral below one thousand; digit by digit without 十 and 百 (一二〇三)."""
    if not set(chinese) & set("十百"):
        return chinese.translate(_DIGITS)
    total, digit = 0, 0
    for sign in chinese:
        if sign == "百":
            total, digit = total + (digit or 1) * 100, 0
        elif sign == "十":
            total, digit = total + (digit or 1) * 10, 0
        else:
            digit = int(sign.translate(_DIGITS))
    return str(total + digit)
