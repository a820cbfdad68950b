"""Checks, verdicts, cases and holds against a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from hub.kernel import clock
from hub.kernel.db import Database, Tx, uow
from pricing import api
from pricing.contracts import Check, Evidence, OfferPrice, ReferenceIn, Verdict

START = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)


class Hand:
    """A clock that the test moves by hand."""

    def __init__(self) -> None:
        self.at = START

    def forward(self, **parts: float) -> None:
        self.at += timedelta(**parts)


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    moved = Hand()
    monkeypatch.setattr(clock, "now", lambda: moved.at)
    yield moved


@pytest.fixture(autouse=True)
async def _clean(database: Database) -> AsyncIterator[None]:
    api.forget_held()
    yield


def reference(price: str, at: datetime, *, product: int = 1, source: str = "jd", **more: object) -> ReferenceIn:
    evidence = Evidence(source=source, url="https://item.example/1", sha256="ab" * 32, captured_at=at, parser="p1")
    return ReferenceIn(product_id=product, price=Decimal(price), evidence=evidence, **more)  # type: ignore[arg-type]


def offer(price: str, *, listing: int = 10, product: int = 1, **more: object) -> OfferPrice:
    return OfferPrice(listing_id=listing, product_id=product, price=Decimal(price), currency="CNY", **more)  # type: ignore[arg-type]


async def seen(*refs: ReferenceIn) -> int:
    async with uow() as tx:
        return await api.record_references(tx, refs)


async def judged(*offers: OfferPrice) -> list[Check]:
    async with uow() as tx:
        return await api.check(tx, offers)


async def open_cases(tx: Tx) -> int:
    return int(await tx.fetchval("SELECT count(*) FROM pricing_cases WHERE status = 'open'"))


async def emitted(kind: str) -> int:
    async with uow() as tx:
        return int(await tx.fetchval("SELECT count(*) FROM outbox WHERE type = $1", kind))


async def test_without_a_reference_nothing_is_claimed(hand: Hand) -> None:
    assert await judged(offer("100")) == []
    async with uow() as tx:
        assert await api.verdicts(tx, [10]) == {}
        assert await api.parity_counts(tx, listed=3) == {"pass": 0, "breach": 0, "unknown": 3}


async def test_exactly_five_percent_passes_and_a_hair_more_breaches(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    checks = await judged(offer("105.00", listing=1), offer("105.01", listing=2))
    assert [c.verdict for c in checks] == [Verdict.PASS, Verdict.BREACH]
    assert [c.gap for c in checks] == [Decimal("0.05"), Decimal("0.0501")]
    async with uow() as tx:
        kept = await api.verdicts(tx, [1, 2, 3])
        assert {k: v.verdict for k, v in kept.items()} == {1: Verdict.PASS, 2: Verdict.BREACH}
        assert await api.parity_counts(tx) == {"pass": 1, "breach": 1, "unknown": 0}
