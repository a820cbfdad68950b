"""The malls' routing policies and vendors' records, read now and then and kept in memory between; and what is written
down about each choice, so that staff can read afterwards why an order went where it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import orjson

from catalog.contracts import Offer
from hub.kernel import clock
from hub.kernel.db import HUB, Tx, uow
from hub.kernel.types import public_id
from orders import store
from orders.policy import Policy, Score, Standing
from orders.routing import Choice

FRESH_S = 5.0  # how long a change may take to count everywhere
_SHOWN = 10  # offers of a choice that are written down

_policies: tuple[float, Mapping[int, Policy]] = (float("-inf"), {})
_standings: tuple[float, Mapping[int, Standing]] = (float("-inf"), {})


def forget() -> None:
    """Read policies and records anew next time."""
    global _policies, _standings
    _policies, _standings = (float("-inf"), {}), (float("-inf"), {})


async def policy_of(tx: Tx, mall_id: int) -> Policy | None:
    """The mall's policy; None: the cheapest first."""
    global _policies
    now = clock.now().timestamp()
    if not 0 <= now - _policies[0] < FRESH_S:
        _policies = (now, {row["mall_id"]: policy_from(row) for row in await store.all_policies(tx)})
    return _policies[1].get(mall_id)


def policy_from(row: asyncpg.Record) -> Policy:
    return Policy(**{name: row[name] for name in Policy.model_fields})


async def standings(tx: Tx) -> Mapping[int, Standing]:
    """Vendors' records by vendor."""
    global _standings
    now = clock.now().timestamp()
    if not 0 <= now - _standings[0] < 12 * FRESH_S:
        _standings = (now, {row["vendor_id"]: standing_from(row) for row in await store.all_standings(tx)})
    return _standings[1]


def standing_from(row: asyncpg.Record) -> Standing:
    return Standing(**{name: row[name] for name in Standing.model_fields})


async def note_on_time(tx: Tx, counts: Mapping[int, tuple[int, int]]) -> None:
    """What fulfilment knows of vendors: lines that were due in the last 30 days, and of them on time."""
    await store.note_on_time(tx, [(vendor, due, on_time) for vendor, (due, on_time) in sorted(counts.items())])


async def refresh_standings() -> int:
    """A task: count vendors' answers of the last 30 days anew; returns how many vendors have a record."""
    async with uow(HUB) as tx:
        return await store.count_answers(tx)


def explained(choice: Choice, at: datetime, occasion: str) -> str:
    """One choice as a line of JSON."""
    offers = (choice.offer, *choice.alternatives)
    told: dict[str, Any] = {
        "at": at.isoformat(),
        "occasion": occasion,
        "chosen": public_id("lst", choice.offer.listing_id),
        "offers": [_offer(offer, choice.scores.get(offer.listing_id)) for offer in offers[:_SHOWN]],
    }
    if len(offers) > _SHOWN:
        told["more"] = len(offers) - _SHOWN
    if choice.passed_over:
        told["passed_over"] = [
            {"listing_id": public_id("lst", offer.listing_id), "vendor": offer.vendor_name, "why": why}
            for offer, why in choice.passed_over[:_SHOWN]
        ]
    return orjson.dumps(told).decode()


def _offer(offer: Offer, score: Score | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "listing_id": public_id("lst", offer.listing_id),
        "vendor": offer.vendor_name,
        "price": str(offer.price),
        "currency": offer.currency,
        "available": offer.available,
    }
    if score is not None:
        told["score"] = {name: str(getattr(score, name)) for name in Score.model_fields}
    return told


def told(lines: str | None) -> Sequence[dict[str, Any]]:
    """The choices of a line, first to last."""
    return [orjson.loads(line) for line in (lines or "").splitlines()]
