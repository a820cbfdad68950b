"""Orders that a mall's rules find abnormal, and what staff decide about them. An order is judged while it is made,
before any vendor hears of it: its marks are written and counted in one statement, under turns that two orders of
the same employee or address take, so that two at once cannot slip under a limit together.

A held order is accepted: t0 has passed, its stock is reserved, and the 72 hours run on, since the employee waits
whoever looks. It has no purchase order yet, so no vendor sees it. A release makes them exactly as placing would
have."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from catalog import api as catalog
from hub.kernel import audit, secrets
from hub.kernel.db import Tx, uow
from hub.kernel.errors import NotFound
from hub.kernel.settings import settings
from hub.kernel.types import public_id
from orders import issuing, outcomes, store
from orders.book import Book, Line, open_book
from orders.lifecycle import WrongState, terminal
from orders.models import OrderIn
from orders.suspicion import Asked, Drain, Finding, RuleSet, Seen, SharedAddress, Velocity, judge, plain_address

KEEP_MARKS = timedelta(days=90)
_MARGIN = 256  # orders under a mall-wide limit from which on that mall's orders are judged one after the other
_NO_RULES = RuleSet(rules=[])
_known: dict[int, tuple[float, int, RuleSet]] = {}  # mall -> (until, version, rules)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules found in one order. `held_until` is set when one of them holds it."""

    findings: tuple[Finding, ...] = ()
    held_until: datetime | None = None
    version: int = 0
    at_deadline: str = "refuse"


CLEAR = Verdict()


@dataclass(frozen=True, slots=True)
class Watch:
    """The marks of one order that is being made, and the rules that will judge it."""

    mall_id: int
    version: int
    rules: RuleSet
    employee: tuple[bytes, ...]  # hashes by every key, the newest first; empty without a reference
    address: tuple[bytes, ...]

    async def judge(self, tx: Tx, order_id: uuid.UUID, lines: Sequence[Line]) -> Verdict:
        """Write the order's mark and hold it against the rules. `lines` hold their stock already."""
        amount = sum((line.unit_price * line.quantity for line in lines), Decimal(0))
        currency = lines[0].currency
        units: dict[int, int] = {}
        for line in lines:
            units[line.product_id] = units.get(line.product_id, 0) + line.quantity
        drains = [rule for rule in self.rules.rules if isinstance(rule, Drain)]
        asking = (
            tx, order_id, self.mall_id, self.employee, self.address, amount, currency, self._windows(tx.now),
            [(rule.name, tx.now - timedelta(seconds=rule.window_s)) for rule in drains], sorted(units),
        )  # fmt: skip
        rows = await store.measure(*asking)
        if self._near_a_mall_limit(rows):  # only now and last of all locks, since it is the whole mall's
            await store.take_turns(tx, [_turn(b"mall", self.mall_id.to_bytes(8, "big"))])
            rows = await store.measure(*asking, write=False)
        seen = {row["name"]: self._seen(row) for row in rows if row["product_id"] is None}
        taken: dict[str, dict[int, int]] = {rule.name: {} for rule in drains}
        for row in rows:
            if row["product_id"] is not None:
                taken[row["name"]][row["product_id"]] = int(row["orders"])
        seen |= {name: Seen(units=found) for name, found in taken.items()}
        left: dict[int, int | None] = {}
        if self.employee and any(
            count + taken[rule.name].get(one, 0) > rule.units for rule in drains for one, count in units.items()
        ):
            left = await _left(tx, lines)  # scarce or not matters only now
        asked = Asked(amount, currency, units, left, bool(self.employee), bool(self.address))
        findings = tuple(judge(self.rules.rules, seen, asked))
        held = any(found.holds for found in findings)
        until = tx.now + timedelta(seconds=self.rules.deadline_s) if held else None
        return Verdict(findings, until, self.version, self.rules.at_deadline)

    def _windows(self, now: datetime) -> list[tuple[str, str, datetime, str]]:
        found: list[tuple[str, str, datetime, str]] = []
        for rule in self.rules.rules:
            if isinstance(rule, Velocity):
                found.append((rule.name, rule.per, now - timedelta(seconds=rule.window_s), rule.currency))
            elif isinstance(rule, SharedAddress):
                found.append((rule.name, "address", now - timedelta(seconds=rule.window_s), ""))
        return found

    def _near_a_mall_limit(self, rows: Sequence[store.Row]) -> bool:
        counted = {row["name"]: row for row in rows if row["product_id"] is None}
        return any(
            rule.amount is not None or counted[rule.name]["orders"] + _MARGIN >= (rule.orders or 0)
            for rule in self.rules.rules
            if isinstance(rule, Velocity) and rule.per == "mall"
        )

    def _seen(self, row: store.Row) -> Seen:
        own = set(self.employee)
        others = set(row["employees"] or ()) - own
        return Seen(int(row["orders"]), row["amount"], len(others) + bool(own))


async def _left(tx: Tx, lines: Sequence[Line]) -> dict[int, int | None]:
    """Units that the listings of each product still have; None where a vendor gives no count."""
    shelves = await catalog.available(tx, sorted({line.listing_id for line in lines}))
    left: dict[int, int | None] = {}
    for line in lines:
        counts = [shelf.available for shelf in shelves.get(line.listing_id, ()) if shelf.available is not None]
        known = sum(counts) if counts else None
        before = left.get(line.product_id, known)
        left[line.product_id] = None if known is None or before is None else min(before, known)
    return left


def _turn(kind: bytes, mark: bytes) -> int:
    """The key of an advisory lock."""
    return int.from_bytes((kind + mark)[-8:], "big", signed=True)


async def begin(tx: Tx, mall_id: int, asked: OrderIn) -> Watch | None:
    """What will be watched of an order that is about to be made; None when there is nothing to keep. Takes the turns of
    its employee and its address, before any stock is held: everybody takes locks in this sequence."""
    version, rules = await rules_of(tx, mall_id)
    if not rules.rules and asked.employee_ref is None:
        return None
    ship_to = asked.ship_to
    where = plain_address(ship_to.country, ship_to.province, ship_to.city, ship_to.district, ship_to.address)
    employee: tuple[bytes, ...] = ()
    if asked.employee_ref is not None:
        reference = asked.employee_ref.get_secret_value().strip()
        employee = tuple(secrets.marks(reference, f"employee:{mall_id}")) if reference else ()
    address = tuple(secrets.marks(where, f"address:{mall_id}")) if where and rules.rules else ()
    if rules.rules and (employee or address):
        await store.take_turns(tx, [_turn(b"", mark) for mark in (*employee, *address)])
    return Watch(mall_id, version, rules, employee, address)


async def note(tx: Tx, mall_id: int, order_id: uuid.UUID, verdict: Verdict) -> None:
    """Put an order that broke a rule into the queue. The order is written already."""
    if verdict.findings:
        findings = [found.as_json() for found in verdict.findings]
        await store.add_review(
            tx, order_id, mall_id, findings, verdict.version, verdict.held_until, verdict.at_deadline
        )


async def rules_of(tx: Tx, mall_id: int) -> tuple[int, RuleSet]:
    """The mall's rules and their version (0: none were ever set). Known for `key_cache_s` seconds in each process, so
    that malls without rules pay nothing; a change takes as long to be everywhere."""
    tick = time.monotonic()
    known = _known.get(mall_id)
    if known is not None and known[0] > tick:
        return known[1], known[2]
    row = await store.newest_rules(tx, mall_id)
    version, rules = (row["version"], RuleSet.model_validate(row["rules"])) if row is not None else (0, _NO_RULES)
    if len(_known) > 10_000:
        _known.clear()
    _known[mall_id] = (tick + settings().key_cache_s, version, rules)
    return version, rules


async def set_rules(tx: Tx, mall_id: int, rules: RuleSet, actor: str) -> int:
    """Keep a new version of a mall's rules, and audit it; its number. Raises NotFound for an unknown mall."""
    version = await store.add_rules(tx, mall_id, rules.model_dump(mode="json"), actor)
    if version is None:
        raise NotFound("there is no such mall", code="no_mall")
    await audit.record(tx, actor, "review.rules", f"mall:{mall_id}", {"version": version, "rules": len(rules.rules)})
    tx.after_commit(lambda: forget(mall_id))
    return version


def forget(mall_id: int | None = None) -> None:
    """Read the rules of a mall (or of all) anew."""
    if mall_id is None:
        _known.clear()
    else:
        _known.pop(mall_id, None)


async def release(tx: Tx, order_id: uuid.UUID, actor: str, reason: str | None = None) -> str:
    """Let a held order go on as if it had never been held, or note that a flagged one was looked at; the review's state
    now. Releasing again changes nothing. WrongState once it was refused, NotFound for an order that no rule found."""
    book, row = await _reviewed(tx, order_id)
    if row["state"] in ("released", "overtaken"):
        return str(row["state"])
    if row["state"] == "refused":
        raise _decided(row)
    state = await _close(tx, book, "released", actor, reason)
    if row["state"] == "held" and state == "released" and book.order.placed_at is not None:
        await issuing.send(tx, book)
    return state


async def refuse(tx: Tx, order_id: uuid.UUID, actor: str, reason: str) -> str:
    """Cancel a held order with a reason and give its stock back; the review's state now. Refusing again changes
    nothing. WrongState once it was released, or when it was only flagged: vendors may have it, so it is cancelled
    as any other."""
    book, row = await _reviewed(tx, order_id)
    if row["state"] in ("refused", "overtaken"):
        return str(row["state"])
    if row["state"] != "held":
        raise _decided(row)
    state = await _close(tx, book, "refused", actor, reason)
    if state == "refused":
        await outcomes.cancel_lines(tx, book, [line for line in book.lines.values() if not terminal(line.status)])
        await book.save(tx)
    return state


async def _reviewed(tx: Tx, order_id: uuid.UUID) -> tuple[Book, store.Row]:
    try:
        book = await open_book(tx, order_id)
    except NotFound:
        raise NotFound("there is no such review", code="no_review") from None
    row = await store.lock_review(tx, order_id)
    if row is None:
        raise NotFound("there is no such review", code="no_review")
    return book, row


async def _close(tx: Tx, book: Book, state: str, actor: str, reason: str | None) -> str:
    """Write the decision down; an order that ended by itself meanwhile was `overtaken`."""
    if terminal(book.order.status):
        state = "overtaken"
    await store.decide(tx, book.order.id, state, actor, reason)
    book.order.held_until = None
    subject = public_id("ord", book.order.id)
    await audit.record(tx, actor, f"review.{state}", subject, {"reason": reason} if reason else {})
    return state


def _decided(row: store.Row) -> WrongState:
    return WrongState(
        f"this order's review is {row['state']}" + ("; cancel the order instead" if row["state"] == "flagged" else ""),
        code="wrong_state",
        facts={"state": row["state"]},
    )


async def decide_overdue(limit: int = 200) -> int:
    """A task: decide held orders whose deadline has passed as their mall's rules say; returns how many."""
    async with uow() as tx:
        due = [(row["order_id"], row["at_deadline"]) for row in await store.past_deadline(tx, limit)]
    done = 0
    for order_id, what in due:
        async with uow() as tx:
            _, row = await _reviewed(tx, order_id)
            if row["state"] != "held" or row["held_until"] > tx.now:
                continue  # decided meanwhile
            if what == "release":
                await release(tx, order_id, "hub", "nobody decided in time")
            else:
                await refuse(tx, order_id, "hub", "the review was not decided in time")
        done += 1
    return done
