"""The talk about a case over HTTP, what it tells others, its evidence, and policies by category."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from hub.kernel import audit, clock
from hub.kernel.db import uow
from pricing import api, cases
from pricing.contracts import OfferPrice, Policy
from pricing.parity import Rule
from tests.pricing.test_web import Caller, callers, observed

__all__ = ["callers"]


class Hand:
    """A clock that the test moves by hand."""

    def __init__(self) -> None:
        self.at = clock.now()

    def forward(self, **parts: float) -> None:
        self.at += timedelta(**parts)


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hand]:
    moved = Hand()
    monkeypatch.setattr(clock, "now", lambda: moved.at)
    yield moved


async def judged(price: str, listing: int = 10, **more: Any) -> None:
    async with uow() as tx:
        ours = OfferPrice(listing_id=listing, product_id=1, price=Decimal(price), currency="CNY", **more)
        await api.check(tx, [ours])


async def a_case(staff: Caller, price: str = "150", action: str = "hold") -> dict[str, Any]:
    await staff("PUT", "/parity/policies", {"mall_id": 1, "action": action})
    await staff("POST", "/references", {"references": [observed()]})
    await judged(price)
    _, page = await staff("GET", "/parity/cases?status=open")
    case: dict[str, Any] = page["items"][0]
    return case


async def told() -> list[tuple[str, dict[str, Any]]]:
    async with uow() as tx:
        rows = await tx.fetch("SELECT type, payload FROM outbox WHERE type LIKE 'ParityCase%' ORDER BY id")
    return [(row["type"].removeprefix("ParityCase"), row["payload"]) for row in rows]


async def test_a_case_from_found_to_a_new_price_that_is_seen(callers: dict[str, Caller], hand: Hand) -> None:
    staff = callers["staff"]
    case = await a_case(staff)
    path = f"/parity/cases/{case['id']}"
    assert (case["status"], case["stage"], case["version"]) == ("open", "found", 1)
    status, view = await staff("POST", path + "/tell", {"note": "called Ms Li, asked for 105", "version": 1})
    assert (status, view["stage"], view["version"]) == (200, "told", 2)
    _, view = await staff("POST", path + "/offer", {"note": "from Monday", "price": "104.00"})
    assert (view["stage"], view["log"][-1]["price"], view["status"]) == ("offered", "104.00", "open")
    await judged("104")
    await judged("103")
    _, view = await staff("GET", path)
    assert (view["status"], view["log"][-1]["why"]) == ("closed", cases.BACK_WITHIN)
    assert [entry["what"] for entry in view["log"]] == ["opened", "told", "offered", "closed"]
    assert all(entry["by"].startswith("key:") for entry in view["log"][1:3]) and view["log"][3]["by"] == "hub"
    assert [what for what, _ in await told()] == ["Opened", "Told", "Offered", "Closed"]

    snapshots = list(zip(view["snapshots"], view["contents"], strict=True))
    assert [taken["what"] for taken, _ in snapshots] == ["opened", "told", "offered", "closed"]
    for (taken, content), (_, event) in zip(snapshots, await told(), strict=True):
        assert taken["sha256"] == event["evidence_sha256"] == hashlib.sha256(content.encode()).hexdigest()
    first, last = json.loads(snapshots[0][1]), json.loads(snapshots[-1][1])
    assert (first["offer"]["price"], first["observed"]["price"], first["sha256"]) == ("150.0000", "100.0000", "cd" * 32)
    assert (first["gap"], last["gap"], last["verdict"]) == ("0.5", "0.03", "pass")
    async with uow() as tx:
        actions = [row["action"] for row in await tx.fetch("SELECT action FROM audit ORDER BY id")]
        assert actions == ["parity.policy.set", "parity.case.told", "parity.case.offered"]
        assert await audit.first_broken(tx) is None


@pytest.mark.parametrize("action", ["hold", "block"])
async def test_a_waiver_lifts_what_the_mall_holds_until_it_runs_out(
    callers: dict[str, Caller], hand: Hand, action: str
) -> None:
    staff = callers["staff"]
    path = f"/parity/cases/{(await a_case(staff, action=action))['id']}"
    assert await api.refused_for_mall(1) == {10}
    until = hand.at + timedelta(days=3)
    _, view = await staff("POST", path + "/waive", {"note": "contract until then", "until": until.isoformat()})
    assert (view["status"], datetime.fromisoformat(view["waived_until"])) == ("waived", until)
    api.forget_held()
    assert await api.refused_for_mall(1) == frozenset()
    assert (await staff("POST", path + "/tell", {"note": "again"}))[1]["type"].endswith("case_waived")
    hand.forward(hours=7)
    await judged("160")
    async with uow() as tx:
        assert await tx.fetchval("SELECT count(*) FROM pricing_cases") == 1, "no second case beside a waived one"
    hand.at = until - timedelta(seconds=1)
    await api.expire_verdicts()
    assert (await staff("GET", path))[1]["status"] == "waived"
    hand.at = until
    await api.expire_verdicts()
    view = (await staff("GET", path))[1]
    assert (view["status"], view["waived_until"], view["log"][-1]["what"]) == ("open", None, "reopened")
    api.forget_held()
    assert await api.refused_for_mall(1) == {10}
    kinds = [what for what, _ in await told()]
    assert kinds == ["Opened", "Waived", "Reopened"]
    assert [event["malls"] for _, event in await told()] == [[1], [], [1]]


async def test_a_waived_case_closes_when_the_price_comes_back(callers: dict[str, Caller], hand: Hand) -> None:
    path = f"/parity/cases/{(await a_case(callers['staff']))['id']}"
    until = (hand.at + timedelta(days=3)).isoformat()
    await callers["staff"]("POST", path + "/waive", {"note": "for now", "until": until})
    await judged("100")
    await judged("101")
    assert (await callers["staff"]("GET", path))[1]["status"] == "closed"


async def test_two_who_decide_at_once_do_not_overwrite_each_other(callers: dict[str, Caller]) -> None:
    staff = callers["staff"]
    path = f"/parity/cases/{(await a_case(staff))['id']}"
    assert (await staff("POST", path + "/tell", {"note": "I called", "version": 1}))[0] == 200
    status, problem = await staff("POST", path + "/close", {"note": "a bad reference", "version": 1})
    assert (status, problem["facts"]) == (409, {"status": "open", "stage": "told", "version": 2})
    status, view = await staff("POST", path + "/close", {"note": "a bad reference", "version": 2})
    assert (status, view["status"]) == (200, "closed")
    assert (await staff("POST", path + "/close", {"note": "once more"}))[0] == 409
    assert (await staff("POST", path + "/tell", {"note": "too late"}))[0] == 409


@pytest.mark.parametrize("until", ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"])
async def test_a_waiver_ends_within_a_year(callers: dict[str, Caller], until: str) -> None:
    path = f"/parity/cases/{(await a_case(callers['staff']))['id']}"
    status, problem = await callers["staff"]("POST", path + "/waive", {"note": "x", "until": until})
    assert (status, problem["errors"][0]["pointer"]) == (422, "/until")


async def test_a_policy_for_a_category_goes_before_the_malls_own(callers: dict[str, Caller]) -> None:
    staff = callers["staff"]
    await staff("PUT", "/parity/policies", {"mall_id": 1, "action": "hold"})
    strict = {"mall_id": 1, "category": "食品", "action": "block", "threshold_pct": "2", "gross_pct": "4"}
    await staff("PUT", "/parity/policies", strict)
    await staff("PUT", "/parity/policies", {"mall_id": 1, "category": "食品/酒", "action": "observe"})
    await staff("POST", "/references", {"references": [observed()]})
    for listing, category in ((10, "食品/饮料"), (11, "家电"), (12, "食品/酒"), (13, None)):
        await judged("104.01", listing, category=category)
    api.forget_held()
    assert (await api.held_for_mall(1), await api.refused_for_mall(1)) == (frozenset(), {10})
    for listing, category in ((10, "食品/饮料"), (11, "家电"), (12, "食品/酒"), (13, None)):
        await judged("150", listing, category=category)
    api.forget_held()
    assert (await api.held_for_mall(1), await api.refused_for_mall(1)) == ({11, 13}, {10, 11, 13})
    async with uow() as tx:
        said = (await api.held(tx, 1, [10]))[10]
    assert said.action == "block" and "50.00 % above" in said.detail and "limit of 2.00 %" in said.detail

    status, left = await staff("DELETE", "/parity/policies?mall_id=1&category=%E9%A3%9F%E5%93%81")
    assert (status, [(p["category"], p["action"]) for p in left["items"]]) == (
        200, [("", "hold"), ("食品/酒", "observe")],
    )  # fmt: skip
    api.forget_held()
    assert await api.held_for_mall(1) == {10, 11, 13}, "what it covered is covered by the wider one"
    assert (await staff("DELETE", "/parity/policies?mall_id=1&category=%E9%A3%9F%E5%93%81"))[0] == 404
    status, page = await staff("GET", "/parity/cases?status=open")
    assert {case["threshold_pct"] for case in page["items"]} == {"5.00"}


async def test_holds_that_begin_and_end_are_told_to_the_catalogue(callers: dict[str, Caller]) -> None:
    case = await a_case(callers["staff"])
    await callers["staff"]("POST", f"/parity/cases/{case['id']}/review", {"reason": "agreed"})
    async with uow() as tx:
        await cases.set_policy(tx, 1, Policy.BLOCK, Rule(Decimal(5), Decimal(20)), "key:1")
        rows = await tx.fetch("SELECT payload FROM outbox WHERE type = 'ParityHoldsChanged' ORDER BY id")
    assert [row["payload"]["listings"] for row in rows] == [{"1": [10]}, {"1": [10]}], "what was reviewed stays so"


async def test_rates_and_rechecks_over_http(callers: dict[str, Caller]) -> None:
    staff = callers["staff"]
    days = [{"currency": "USD", "day": f"2026-05-0{n}", "rate": f"7.{n}", "source": "fix"} for n in range(1, 6)]
    assert (await staff("POST", "/parity/rates", {"rates": days}))[1] == {"received": 5, "changed": 5}
    assert (await staff("POST", "/parity/rates", {"rates": days}))[1] == {"received": 5, "changed": 0}
    for wrong in ({"rate": "0"}, {"rate": "-1"}, {"rate": "NaN"}, {"currency": "CNY"}, {"day": "2026-13-01"}):
        assert (await staff("POST", "/parity/rates", {"rates": [days[0] | wrong]}))[0] == 422
    seen, cursor = [], ""
    while cursor is not None:
        _, page = await staff("GET", f"/parity/rates?currency=USD&limit=2{cursor}")
        seen += [Decimal(item["rate"]) for item in page["items"]]
        cursor = f"&cursor={page['next']}" if page["next"] else None
    assert seen == [Decimal(f"7.{n}") for n in (5, 4, 3, 2, 1)]
    for wrong_cursor in ("x", "USD.2026-99-99"):
        assert (await staff("GET", f"/parity/rates?cursor={wrong_cursor}"))[0] in (400, 422)
    status, asked = await staff("POST", "/parity/rechecks", {"reason": "a drill"})
    assert (status, asked["items"][0]["why"], asked["items"][0]["done_at"]) == (202, "a drill", None)
    await staff("POST", "/references", {"references": [observed()]})
    await judged("150")
    assert await api.recheck() == 0
    _, done = await staff("GET", "/parity/rechecks")
    assert [(item["seen"], item["done_at"] is not None) for item in done["items"]] == [(1, True), (0, True)]


async def test_the_figure_says_how_old_and_why_unknown(
    callers: dict[str, Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_live_listings", None)  # nothing is listed here: of those ever compared
    staff = callers["staff"]
    await staff("POST", "/references", {"references": [observed()]})
    await judged("100")
    await judged("100", 11, pack="500ml")
    await judged("1", 12, coupon=Decimal(2))
    async with uow() as tx:
        await api.check(tx, [OfferPrice(listing_id=13, product_id=1, price=Decimal(9), currency="USD")])
    _, figure = await staff("GET", "/metrics/parity")
    assert (figure["numerator"], figure["denominator"], figure["unknown"]) == (2, 2, 2)
    assert figure["unknown_because"] == {"no_positive_price": 1, "no_rate": 1}
    assert 50 < figure["reference_age_s"] <= figure["oldest_reference_age_s"] < 600


async def test_a_move_is_decided_once_with_a_reason(callers: dict[str, Caller]) -> None:
    staff = callers["staff"]
    async with uow() as tx:
        for listing in (1, 2):
            await tx.run(
                "INSERT INTO pricing_moves (listing_id, vendor_sku, connection_id, price_before, price_after, "
                "currency, seen_at) VALUES ($1, 'A', 7, 9.9, 99, 'CNY', $2)",
                listing, tx.now,
            )  # fmt: skip
    _, page = await staff("GET", "/parity/moves?status=pending&limit=1")
    assert (page["items"][0]["id"], page["next"]) == ("move_2", "move_2")
    assert (await staff("POST", "/parity/moves/move_2/confirm", {"reason": ""}))[0] == 422
    status, move = await staff("POST", "/parity/moves/move_2/confirm", {"reason": "the vendor says so"})
    assert (status, move["status"], move["decided_by"][:4]) == (200, "confirmed", "key:")
    assert (await staff("POST", "/parity/moves/move_2/refuse", {"reason": "no"}))[0] == 409
    assert (await staff("POST", "/parity/moves/move_1/refuse", {"reason": "a slip"}))[1]["status"] == "refused"
    assert (await staff("POST", "/parity/moves/move_9/refuse", {"reason": "a slip"}))[0] == 404
    async with uow() as tx:
        rows = await tx.fetch("SELECT payload FROM outbox WHERE type = 'PriceMoveConfirmed'")
    assert [row["payload"]["listing_id"] for row in rows] == [2]
