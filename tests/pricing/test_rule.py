"""The rule in use (one statement over sets) against an independent account of it in fractions, one offer at a time; and
that judging one, a batch, or everything again is the same judging."""

from __future__ import annotations

import csv
import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub.kernel import clock
from hub.kernel.db import Database, uow
from pricing import api
from pricing.contracts import Check, Evidence, OfferPrice, Rate, ReferenceIn, Verdict
from pricing.units import read_pack
from tests.pricing import oracle

NOW = datetime(2026, 5, 10, 3, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
PACKS = (None, "500ml", "500ml*12瓶", "6L", "24瓶", "经典款", "1kg", "33ml", "7g")
BASES = ("1.00", "0.20", "19.9999", "100", "33.33", "0.07")
FACTORS = ("1", "1.05", "1.0501", "1.0499", "0.5", "12", "12.6", "12.6001")
numbers = itertools.count(1)


def hours(least: int, most: int) -> st.SearchStrategy[datetime]:
    return st.integers(least, most).map(lambda h: NOW + timedelta(hours=h))


@st.composite
def windows(draw: st.DrawFn) -> tuple[datetime | None, datetime | None]:
    opens = draw(st.none() | hours(-3, 3))
    closes = draw(st.none() | hours(-3, 3))
    return (opens, closes) if opens is None or closes is None or opens < closes else (opens, None)


@st.composite
def prices(draw: st.DrawFn) -> dict[str, Any]:
    price = (Decimal(draw(st.sampled_from(BASES))) * Decimal(draw(st.sampled_from(FACTORS)))).quantize(Decimal("1e-4"))
    opens, closes = draw(st.just((None, None)) | windows())
    return {
        "price": max(price, Decimal("0.01")),
        "shipping": draw(st.sampled_from((Decimal(0), Decimal(0), Decimal("0.05")))),
        "coupon": draw(st.sampled_from((Decimal(0), Decimal(0), Decimal("0.02"), Decimal(9)))),
        "currency": draw(st.sampled_from(("CNY", "CNY", "CNY", "USD", "EUR"))),
        "pack": draw(st.sampled_from(PACKS)),
        "valid_from": opens,
        "valid_to": closes,
    }


@st.composite
def references(draw: st.DrawFn) -> dict[str, Any]:
    return {
        **draw(prices()),
        "condition": draw(st.sampled_from(("ordinary",) * 5 + ("flash", "member"))),
        "source": draw(st.sampled_from(("jd", "tmall"))),
        "captured_at": draw(hours(-9 * 24, 0)),
    }


worlds = st.lists(st.tuples(prices(), st.lists(references(), max_size=4)), min_size=1, max_size=12)
rates = st.dictionaries(
    st.tuples(st.sampled_from(("USD", "EUR")), st.integers(-20, 0)), st.sampled_from(("7.1", "0.9", "1")), max_size=6
)


@pytest.fixture
async def still(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(world=worlds, rated=rates)
async def test_the_statement_says_what_fractions_say(
    still: None, world: list[tuple[dict[str, Any], list[dict[str, Any]]]], rated: dict[tuple[str, int], str]
) -> None:
    days = {(c, (NOW + timedelta(days=d)).date()): Decimal(rate) for (c, d), rate in rated.items()}
    offers, expected = [], {}
    async with uow() as tx:
        await tx.run("TRUNCATE pricing_rates, pricing_rechecks, pricing_verdicts, pricing_references, pricing_streaks")
        await api.record_rates(tx, [Rate(currency=c, day=d, rate=r, source="fix") for (c, d), r in days.items()], "t")
        for ours, theirs in world:
            number = next(numbers)
            offer = OfferPrice(listing_id=number, product_id=number, **ours)
            offers.append(offer)
            seen = [await observed(tx, number, **reference) for reference in theirs]
            expected[number] = oracle.judge(offer, seen, NOW, WEEK, days)
        found = {check.listing_id: check for check in await api.check(tx, offers)}
        again = {check.listing_id: check for check in await api.check(tx, offers)}
    assert again == found
    for offer in offers:
        compare(found.get(offer.listing_id), expected[offer.listing_id])
    before = await kept([offer.listing_id for offer in offers])
    async with uow() as tx:
        await api.ask_recheck(tx, "test", "all of it")
    assert await api.recheck() == 0  # nothing is different when everything is judged again
    assert await kept([offer.listing_id for offer in offers]) == before


async def observed(tx: Any, product: int, *, source: str, captured_at: datetime, **price: Any) -> oracle.Observed:
    proof = f"{next(numbers):064x}"
    evidence = Evidence(source=source, sha256=proof, captured_at=captured_at)
    await api.record_references(tx, [ReferenceIn(product_id=product, evidence=evidence, **price)])
    number = await tx.fetchval("SELECT id FROM pricing_references WHERE sha256 = $1", proof)
    return oracle.Observed(
        id=number,
        total=price["price"] + price["shipping"] - price["coupon"],
        currency=price["currency"],
        pack=read_pack(price["pack"]) if price["pack"] is not None else None,
        condition=price["condition"],
        offer=(source, "CN", ""),
        captured_at=captured_at,
        valid_from=price["valid_from"],
        valid_to=price["valid_to"],
    )


def compare(check: Check | None, expected: oracle.Judgement) -> None:
    if check is None:  # never had anything to be compared with
        assert expected.reason in ("no_reference", "stale_reference")
        return
    assert (check.verdict, check.reason) == (expected.verdict, expected.reason)
    assert check.reference_id == (expected.reference.id if expected.reference else None)
    if expected.gap is None:
        assert check.gap is None and check.verdict is Verdict.UNKNOWN
    else:
        assert check.gap is not None and abs(Fraction(check.gap) - expected.gap) <= Fraction(1, 10**12)


async def kept(listing_ids: list[int]) -> list[dict[str, Any]]:
    async with uow() as tx:
        sql = "SELECT * FROM pricing_verdicts WHERE listing_id = ANY($1::bigint[]) ORDER BY 1"
        return [dict(row) for row in await tx.fetch(sql, listing_ids)]


def offer(price: str, number: int = 1, **more: Any) -> OfferPrice:
    return OfferPrice(listing_id=number, product_id=number, price=Decimal(price), currency="CNY", **more)


async def judged(ours: OfferPrice, *theirs: dict[str, Any]) -> Check:
    """The verdict on one offer against these observations, and nothing kept from before."""
    async with uow() as tx:
        await tx.run("TRUNCATE pricing_verdicts, pricing_references")
        standing = {"shipping": Decimal(0), "coupon": Decimal(0), "currency": "CNY", "pack": None, "valid_from": None,
                    "valid_to": None, "condition": "ordinary", "source": "jd", "captured_at": NOW}  # fmt: skip
        for price in theirs:
            await observed(tx, ours.product_id, **{**standing, **price, "price": Decimal(price["price"])})
        (check,) = await api.check(tx, [ours])
    return check


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ("105.00", "100.00", Verdict.PASS),
        ("105.01", "100.00", Verdict.BREACH),
        ("20.9999", "19.9999", Verdict.BREACH),
        ("1.05", "1.00", Verdict.PASS),
        ("10.4999", "9.9999", Verdict.BREACH),
        ("0.21", "0.20", Verdict.PASS),
        ("50", "100", Verdict.PASS),
    ],
)
async def test_five_percent_passes_and_anything_above_breaches(
    still: None, ours: str, theirs: str, verdict: Verdict
) -> None:
    assert (await judged(offer(ours), {"price": theirs})).verdict is verdict


money = st.decimals(min_value="0.01", max_value="99999", places=2)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(theirs=money, our_count=st.integers(1, 1000), their_count=st.integers(1, 1000), hair=st.booleans())
async def test_five_percent_to_the_last_decimal_whatever_the_packs_divide_into(
    still: None, theirs: Decimal, our_count: int, their_count: int, hair: bool
) -> None:
    """Ours is the dearest price of four decimals that passes, or one ten-thousandth more."""
    most = Fraction(theirs) * Fraction(105, 100) * our_count / their_count
    ours = max(Decimal(most.numerator * 10_000 // most.denominator), Decimal(1)) / 10_000 + hair * Decimal("0.0001")
    check = await judged(
        offer(str(ours), pack=f"{our_count}ml"), {"price": str(theirs), "pack": f"{their_count}ml"}
    )  # fmt: skip
    assert check.verdict is (Verdict.BREACH if Fraction(ours) > most else Verdict.PASS)


@pytest.mark.parametrize("condition", ["member", "group_buy", "flash", "new_user", "used"])
async def test_a_price_that_an_ordinary_buyer_cannot_have_never_counts(still: None, condition: str) -> None:
    dear, cheap = {"price": "100"}, {"price": "50", "condition": condition, "source": "other"}
    assert (await judged(offer("104"), dear, cheap)).verdict is Verdict.PASS


async def test_of_packs_the_price_of_a_unit_is_compared_and_never_guessed(still: None) -> None:
    dozen = {"price": "12.00", "pack": "6×500 ml"}
    assert (await judged(offer("25.20", pack="500ml*12瓶"), dozen)).verdict is Verdict.PASS
    assert (await judged(offer("25.21", pack="500ml*12瓶"), dozen)).verdict is Verdict.BREACH
    assert (await judged(offer("25", pack="经典款"), dozen)).reason == "packs_not_comparable"


async def test_a_sale_counts_between_its_first_and_its_last_moment(
    still: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody touches the verdict: it changes by itself when the window opens and when it closes."""
    opens, closes = NOW + timedelta(hours=1), NOW + timedelta(hours=2)
    usual, sale = {"price": "100"}, {"price": "80", "valid_from": opens, "valid_to": closes}
    assert (await judged(offer("100"), usual, sale)).verdict is Verdict.PASS
    stands = []
    tick = timedelta(microseconds=1)
    for moment in (opens - tick, opens, closes - tick, closes):
        monkeypatch.setattr(clock, "now", lambda moment=moment: moment)
        await api.expire_verdicts()
        stands.append((await api.standing_verdicts([1]))[1].verdict.value)
    assert stands == ["pass", "breach", "breach", "pass"]
    monkeypatch.setattr(clock, "now", lambda: NOW)
    check = await judged(offer("80", valid_to=closes), usual)
    assert check.verdict is Verdict.PASS
    monkeypatch.setattr(clock, "now", lambda: closes)
    found = (await api.standing_verdicts([1]))[1]
    assert found.verdict is Verdict.UNKNOWN  # before any sweep has been there
    await api.expire_verdicts()
    assert (await api.standing_verdicts([1]))[1].reason == "offer_outside_window"


async def test_a_foreign_price_needs_the_rate_of_its_day(still: None) -> None:
    abroad = {"price": "10", "currency": "USD"}
    assert (await judged(offer("70"), abroad)).reason == "no_rate"

    async def rated(day: int, rate: str) -> None:
        async with uow() as tx:
            dated = NOW.date() + timedelta(days=day)
            await api.record_rates(tx, [Rate(currency="USD", day=dated, rate=Decimal(rate), source="fix")], "test")

    await rated(-5, "7")
    assert (await judged(offer("70"), abroad)).reason == "stale_rate"
    await rated(-4, "7")
    assert (await judged(offer("73.50"), abroad)).verdict is Verdict.PASS
    assert (await judged(offer("73.51"), abroad)).verdict is Verdict.BREACH
    await rated(0, "6.99")  # a rate of the day itself: what stands is judged again without another word
    assert await api.recheck() == 1
    stands = (await api.standing_verdicts([1]))[1]
    assert (stands.verdict, stands.reference) == (Verdict.BREACH, Decimal("69.9"))
    await rated(1, "9")  # tomorrow's says nothing about today's observation
    assert await api.recheck() == 0


@pytest.mark.realdata
async def test_real_price_pairs_are_judged_as_fractions_say(still: None, realdata: Path) -> None:
    """200 pairs: the arithmetic of the prices, that titles never turn a verdict round, and the batch in one call."""
    with (realdata / "parity" / "price_pairs.csv").open(encoding="utf-8") as file:
        pairs = list(csv.DictReader(file))
    plain, titled = [], []
    async with uow() as tx:
        for number, row in enumerate(pairs, 1):
            for base, packs, kept in ((0, (None, None), plain), (1000, (row["title_l"], row["title_r"]), titled)):
                evidence = Evidence(source=row["source"], sha256=f"{base + number:064x}", captured_at=NOW)
                priced = {"currency": row["currency"], "product_id": base + number}
                await api.record_references(
                    tx, [ReferenceIn(price=Decimal(row["price_r"]), pack=packs[1], evidence=evidence, **priced)]
                )
                kept.append(
                    OfferPrice(listing_id=base + number, price=Decimal(row["price_l"]), pack=packs[0], **priced)
                )
        found = {check.listing_id: check for check in await api.check(tx, [*plain, *titled])}
    verdicts = []
    for number, row in enumerate(pairs, 1):
        a, b = Fraction(row["price_l"]), Fraction(row["price_r"])
        check = found[number]
        assert check.verdict is (Verdict.BREACH if 20 * a > 21 * b else Verdict.PASS)
        assert check.gap is not None and abs(Fraction(check.gap) - (a - b) / b) <= Fraction(1, 10**12)
        assert round(abs(check.gap) * 100, 3) == Decimal(row["gap_pct"])
        assert found[1000 + number].verdict in (check.verdict, Verdict.UNKNOWN), row
        verdicts.append(check.verdict)
    assert len(pairs) == 200 and verdicts.count(Verdict.PASS) > 50 < verdicts.count(Verdict.BREACH)
