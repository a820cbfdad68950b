"""Checks, verdicts, cases and holds against a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from hub.kernel import clock
from hub.kernel.db import Database, Tx, uow
from hub.kernel.store import add_mall
from pricing import api, cases, store
from pricing.contracts import Check, Evidence, OfferPrice, PackOffer, Policy, ReferenceIn, Verdict
from pricing.parity import Rule

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
    return ReferenceIn.model_validate({"product_id": product, "price": price, "evidence": evidence, **more})


def offer(price: str, *, listing: int = 10, product: int = 1, **more: object) -> OfferPrice:
    return OfferPrice.model_validate(
        {"listing_id": listing, "product_id": product, "price": Decimal(price), "currency": "CNY", **more}
    )


async def seen(*refs: ReferenceIn) -> int:
    async with uow() as tx:
        return await api.record_references(tx, refs)


async def judged(*offers: OfferPrice) -> list[Check]:
    async with uow() as tx:
        return await api.check(tx, offers)


async def open_cases() -> list[int]:
    async with uow() as tx:
        rows = await tx.fetch("SELECT listing_id FROM pricing_cases WHERE status = 'open' ORDER BY id")
        return [row["listing_id"] for row in rows]


async def emitted(kind: str) -> int:
    async with uow() as tx:
        return int(await tx.fetchval("SELECT count(*) FROM outbox WHERE type = $1", kind))


async def standing(listing: int = 10) -> Check:
    async with uow() as tx:
        return (await api.verdicts(tx, [listing]))[listing]


async def mall_with(action: Policy, threshold: str = "5", gross: str = "20", name: str = "mall") -> int:
    async with uow() as tx:
        mall_id = await add_mall(tx, name)
        assert await cases.set_policy(tx, mall_id, action, Rule(Decimal(threshold), Decimal(gross)), "key:1")
    return mall_id


async def held(mall_id: int) -> set[int]:
    async with uow() as tx:
        inside = await api.held(tx, mall_id, list(range(100)))
    api.forget_held()
    assert await api.refused_for_mall(mall_id) == inside.keys()  # both doors say the same
    shown_none = {listing for listing, why in inside.items() if why.action == "hold"}
    assert await api.held_for_mall(mall_id) == shown_none  # a block is shown, and refused when it is ordered
    return set(inside)


async def test_without_a_reference_nothing_is_claimed(hand: Hand) -> None:
    assert await judged(offer("100")) == []
    async with uow() as tx:
        assert await api.verdicts(tx, [10]) == {}
        assert await api.parity_counts(tx, listed=3) == {"pass": 0, "breach": 0, "unknown": 3}


async def test_exactly_five_percent_passes_and_a_hair_more_breaches(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    checks = await judged(offer("105.00", listing=1), offer("105.01", listing=2), offer("9", listing=3, product=2))
    assert [(c.listing_id, c.verdict) for c in checks] == [(1, Verdict.PASS), (2, Verdict.BREACH)]
    assert [c.gap for c in checks] == [Decimal("0.05"), Decimal("0.0501")]
    async with uow() as tx:
        kept = await api.verdicts(tx, [1, 2, 3])
        assert {k: v.verdict for k, v in kept.items()} == {1: Verdict.PASS, 2: Verdict.BREACH}
        assert await api.parity_counts(tx) == {"pass": 1, "breach": 1, "unknown": 0}


async def test_recording_the_same_observation_again_changes_nothing(hand: Hand) -> None:
    ref = reference("100", hand.at)
    assert await seen(ref, ref) == 1
    assert await seen(ref) == 0
    assert await emitted("ReferencesRecorded") == 1


async def test_a_stale_reference_reads_as_unknown_before_any_sweep_and_after_it(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    await judged(offer("100"))
    hand.forward(days=7)
    assert (await standing()).verdict is Verdict.PASS
    hand.forward(seconds=1)
    assert ((await standing()).verdict, (await standing()).reason) == (Verdict.UNKNOWN, "stale_reference")
    async with uow() as tx:
        assert await api.parity_counts(tx) == {"pass": 0, "breach": 0, "unknown": 1}
    assert await api.expire_verdicts() == 1
    assert await api.expire_verdicts() == 0
    assert ((await standing()).verdict, (await standing()).reason) == (Verdict.UNKNOWN, "stale_reference")


async def test_the_sweep_finds_another_fresh_reference(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    await judged(offer("104"))
    hand.forward(days=6)
    await seen(reference("102", hand.at, source="tmall"))
    hand.forward(days=2)
    await api.expire_verdicts()
    found = await standing()
    assert (found.verdict, found.reference) == (Verdict.PASS, Decimal("102"))


async def test_a_listing_that_moves_to_a_product_without_a_reference_becomes_unknown(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    await judged(offer("100"))
    checks = await judged(offer("100", product=2))
    assert [(c.verdict, c.reason) for c in checks] == [(Verdict.UNKNOWN, "no_reference")]
    assert (await standing()).verdict is Verdict.UNKNOWN


async def test_a_case_opens_at_the_second_breach_six_hours_later_and_closes_after_two_within(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    await judged(offer("106"))
    await judged(offer("106"))
    hand.forward(hours=5)
    await judged(offer("106.5"))
    assert await open_cases() == []
    hand.forward(hours=1)
    await judged(offer("106"))
    assert await open_cases() == [10]
    await judged(offer("104"))
    await judged(offer("104"))  # the same evidence again is no second observation
    assert await open_cases() == [10]
    await seen(reference("100", hand.at, source="tmall"))
    await judged(offer("103"))
    assert await open_cases() == []
    assert (await emitted("ParityCaseOpened"), await emitted("ParityCaseClosed")) == (1, 1)


async def test_a_price_that_flaps_opens_nothing(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    for price in ("106", "104", "107", "103", "108"):
        await judged(offer(price))
        hand.forward(hours=4)
    assert await open_cases() == []


async def test_a_gross_breach_opens_at_once_with_its_evidence(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    await judged(offer("120"))
    assert await open_cases() == []
    await judged(offer("120.01"))
    assert await open_cases() == [10]
    async with uow() as tx:
        evidence = await tx.fetchval("SELECT evidence FROM pricing_cases")
    assert (evidence["sha256"], evidence["gap"], evidence["source"]) == ("ab" * 32, "0.2001", "jd")


async def test_a_breach_holds_the_listing_only_for_the_mall_whose_policy_says_so(hand: Hand) -> None:
    observing = await mall_with(Policy.OBSERVE, name="a")
    holding = await mall_with(Policy.HOLD, name="b")
    await seen(reference("100", hand.at))
    await judged(offer("150"))
    assert await held(observing) == set()
    assert await held(holding) == {10}
    async with uow() as tx:
        assert await api.held_count(tx) == 1


async def test_a_hold_lasts_until_somebody_reviews_it_and_a_block_ends_with_its_case(hand: Hand) -> None:
    holding = await mall_with(Policy.HOLD, name="a")
    blocking = await mall_with(Policy.BLOCK, name="b")
    await seen(reference("100", hand.at))
    await judged(offer("150"))
    for price in ("100", "101"):
        await judged(offer(price))
    assert await open_cases() == []
    assert (await held(holding), await held(blocking)) == ({10}, set())
    async with uow() as tx:
        assert await cases.review(tx, 1, None, "key:1", "the vendor lowered its price") == [holding]
        assert await cases.review(tx, 2, None, "key:1", "no such case") is None
    assert await held(holding) == set()


async def test_each_mall_is_held_under_its_own_limits(hand: Hand) -> None:
    strict = await mall_with(Policy.HOLD, "2", "4", name="strict")
    lenient = await mall_with(Policy.HOLD, "10", "50", name="lenient")
    await seen(reference("100", hand.at))
    await judged(offer("104.01"))
    assert (await held(strict), await held(lenient)) == ({10}, set())
    assert (await standing()).verdict is Verdict.PASS  # the verdict itself is at five percent for everybody
    await judged(offer("150.01"))
    assert await held(lenient) == {10}


async def test_a_change_of_policy_takes_effect_on_standing_cases(hand: Hand) -> None:
    mall_id = await mall_with(Policy.OBSERVE, name="m")
    await seen(reference("100", hand.at))
    await judged(offer("150"))
    assert await held(mall_id) == set()
    await mall_with(Policy.HOLD, name="m")
    assert await held(mall_id) == {10}
    await mall_with(Policy.OBSERVE, name="m")
    assert await held(mall_id) == set()
    await mall_with(Policy.BLOCK, name="m")
    assert await held(mall_id) == {10}
    async with uow() as tx:
        assert not await cases.set_policy(tx, 999, Policy.HOLD, Rule(Decimal(5), Decimal(20)), "key:1")


async def test_limits_that_nobody_names_any_more_leave_no_case_behind(hand: Hand) -> None:
    await mall_with(Policy.HOLD, "1", "2", name="m")
    await seen(reference("100", hand.at))
    await judged(offer("103"))
    assert await open_cases() == [10]
    await mall_with(Policy.OBSERVE, name="m")
    assert await open_cases() == []


async def test_a_listing_taken_off_sale_leaves_no_verdict_and_no_open_case(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    await judged(offer("150"))
    async with uow() as tx:
        await api.forget_listings(tx, [10])
        assert await api.verdicts(tx, [10]) == {}
    assert await open_cases() == []


async def test_a_multipack_dearer_per_unit_than_the_single_is_a_finding(hand: Hand) -> None:
    def pack(listing: int, total: str, text: str, group: str = "water", currency: str = "CNY") -> PackOffer:
        return PackOffer(group=group, listing_id=listing, total=Decimal(total), currency=currency, pack=text)

    async def weighed(*offers: PackOffer) -> list[tuple[int, int]]:
        async with uow() as tx:
            await api.weigh_packs(tx, offers)
            rows = await store.finding_rows(tx, 0, 10)
        return [(row["listing_id"], row["smaller_listing_id"]) for row in rows]

    single, level = pack(1, "10", "500ml"), pack(3, "60", "500ml*6瓶")
    others = [
        pack(4, "99", "500ml*6瓶", group="juice"), pack(5, "99", "500ml*6瓶", currency="USD"),
        pack(6, "99", "经典款"), pack(7, "99", "24瓶"),
    ]  # fmt: skip
    assert await weighed(single, pack(2, "60.01", "500ml*6瓶"), level, *others) == [(2, 1)]
    assert await weighed(single, pack(2, "60.01", "500ml*6瓶"), level) == [(2, 1)]
    assert await emitted("DearerPacksFound") == 1  # it is told once
    assert await weighed(single, pack(2, "60", "500ml*6瓶"), level) == []
    assert await weighed(single, pack(2, "60.01", "500ml*6瓶"), level) == [(2, 1)]
    async with uow() as tx:
        await api.forget_listings(tx, [1])
        assert await store.finding_rows(tx, 0, 10) == []


async def test_concurrent_checks_open_one_case(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    await asyncio.gather(*(judged(offer("150")) for _ in range(6)))
    assert await open_cases() == [10]
    assert await emitted("ParityCaseOpened") == 1


async def test_the_parity_figure_says_what_it_speaks_for(hand: Hand) -> None:
    await seen(reference("100", hand.at))
    await judged(offer("100", listing=1), offer("150", listing=2))

    async def four(_tx: Tx) -> int:
        return 4

    api.count_live_listings_with(four)
    try:
        async with uow() as tx:
            figure = await api.parity_figure(tx)
    finally:
        api.count_live_listings_with(None)
    assert (figure.numerator, figure.denominator, figure.status) == (1, 2, "missed")
    assert (figure.unknown, figure.coverage, figure.coverage_of) == (2, 0.5, "live_listings")
    assert (figure.widest_gap, figure.open_cases) == (Decimal("0.5"), 1)
