"""Packs, lots that expire, reserves, floors, caps by headcount; what is said of it, and what other rules would have
done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fulfillment.allocation.comparing import compare
from fulfillment.allocation.explaining import Explainer, Why, words
from fulfillment.allocation.solver import Plan
from fulfillment.allocation.tables import Demand, LeadTime, Supply
from hub.kernel.errors import NotFound, Rejected
from tests.fulfillment.allocation.kit import certified, granted, rows, snapshot


def test_packs_are_never_opened_and_shares_are_within_one() -> None:
    demands = [Demand(name, "mask", 100) for name in "abc"]
    got = granted(certified(snapshot(demands, [Supply("W", "mask", 219, pack=20)])))
    assert sorted(got.values()) == [60, 60, 80]  # ten whole packs; 19 units make none


def test_a_site_that_wants_less_than_a_pack_gets_none_and_is_told() -> None:
    demands = [Demand("small", "mask", 7), Demand("large", "mask", 30)]
    plan = certified(snapshot(demands, [Supply("W", "mask", 100, pack=10)]))
    assert granted(plan) == {"small": 0, "large": 30}
    assert why(plan, "small").reason == "pack"


def test_several_pack_sizes_of_one_item_are_weighed_against_each_other() -> None:
    # Large packs first would fill "both" and leave "boxes" half empty: what else "both" can have must count.
    demands = [Demand("both", "mask", 100), Demand("boxes", "mask", 100)]
    supplies = [Supply("W", "mask", 100, "boxes", pack=10), Supply("V", "mask", 100, "singles")]
    leads = [LeadTime("W", "both", Decimal(1)), LeadTime("W", "boxes", Decimal(1)), LeadTime("V", "both", Decimal(1))]
    assert granted(certified(snapshot(demands, supplies, leads))) == {"both": 100, "boxes": 100}


def test_a_lot_that_would_expire_on_the_way_is_not_sent_and_the_instant_itself_is_good() -> None:
    demands = [Demand("near", "mask", 50), Demand("far", "mask", 50)]
    leads = [LeadTime("W", "near", Decimal(10)), LeadTime("W", "far", Decimal("10.5"))]
    plan = certified(snapshot(demands, [Supply("W", "mask", 100, "old", Decimal(10))], leads))
    assert granted(plan) == {"near": 50, "far": 0}
    told = why(plan, "far")
    assert (told.reason, told.expired) == ("unreachable", 1)


def test_what_expires_first_leaves_first() -> None:
    supplies = [
        Supply("W", "mask", 30, "b", Decimal(40)),
        Supply("W", "mask", 30, "a"),
        Supply("W", "mask", 30, "c", Decimal(20)),
    ]
    plan = certified(snapshot([Demand("S", "mask", 50)], supplies))
    assert rows(plan) == [("W", "S", "mask", "b", 20), ("W", "S", "mask", "c", 30)]


def test_expiry_on_a_date_counts_from_the_start_and_needs_one() -> None:
    start = datetime(2026, 5, 1, 8, tzinfo=UTC)
    supplies = [Supply("W", "mask", 30, "L", start + timedelta(hours=3))]
    leads = [LeadTime("W", "S", Decimal(3)), LeadTime("W", "T", Decimal(4))]
    demands = [Demand("S", "mask", 20), Demand("T", "mask", 20)]
    world = snapshot(demands, supplies, leads, start=start)
    assert granted(certified(world)) == {"S": 20, "T": 0}
    assert world.sha256 != snapshot(demands, supplies, leads, start=start + timedelta(hours=1)).sha256
    with pytest.raises(Rejected, match="supply 1 expires on a date: the start must be given"):
        snapshot(demands, supplies, leads)


def test_a_start_that_decides_nothing_is_no_part_of_the_snapshot() -> None:
    demands, supplies = [Demand("S", "mask", 20)], [Supply("W", "mask", 30, "L", Decimal(9))]
    one = snapshot(demands, supplies, start=datetime(2026, 5, 1, tzinfo=UTC))
    assert one.sha256 == snapshot(demands, supplies).sha256


def test_a_reserve_is_shared_by_its_own_sites_first_and_its_rest_by_all() -> None:
    demands = [Demand("rural", "mask", 40, tier=2, pool="rural"), Demand("city", "mask", 100, tier=1)]
    supplies = [Supply("W", "mask", 60), Supply("W", "mask", 50, "reserve", pool="rural")]
    plan = certified(snapshot(demands, supplies))
    assert granted(plan) == {"rural": 40, "city": 70}
    assert why(plan, "rural").from_pool == 40


def test_what_a_site_has_from_its_reserve_counts_when_the_rest_is_shared() -> None:
    demands = [Demand("rural", "mask", 100, pool="rural"), Demand("city", "mask", 100)]
    supplies = [Supply("W", "mask", 60), Supply("W", "mask", 40, "reserve", pool="rural")]
    assert granted(certified(snapshot(demands, supplies))) == {"rural": 50, "city": 50}


def test_floors_come_before_tiers_and_count_in_them() -> None:
    demands = [Demand("first", "mask", 100, tier=1), Demand("last", "mask", 100, tier=3, floor=20)]
    assert granted(certified(snapshot(demands, [Supply("W", "mask", 90)]))) == {"first": 70, "last": 20}
    same = [Demand("a", "mask", 100, floor=60), Demand("b", "mask", 100)]
    assert granted(certified(snapshot(same, [Supply("W", "mask", 100)]))) == {"a": 60, "b": 40}


def test_floors_that_cannot_all_be_kept_are_shared_like_anything_else() -> None:
    demands = [Demand("a", "mask", 100, floor=60), Demand("b", "mask", 100, floor=30), Demand("c", "mask", 100)]
    assert granted(certified(snapshot(demands, [Supply("W", "mask", 45)]))) == {"a": 30, "b": 15, "c": 0}


@pytest.mark.parametrize(
    ("demand", "counts", "by"),
    [
        (Demand("S", "mask", 500, headcount=120, per_head=2), 240, "headcount"),
        (Demand("S", "mask", 500, cap=300, headcount=120, per_head=9), 300, "cap"),
        (Demand("S", "mask", 500, cap=900), 500, "quantity"),
        (Demand("S", "mask", 500, headcount=0), 0, "headcount"),
    ],
)
def test_no_more_counts_than_quantity_cap_and_verified_headcount(demand: Demand, counts: int, by: str) -> None:
    plan = certified(snapshot([demand], [Supply("W", "mask", 1000)]))
    told = why(plan, "S")
    assert (told.counted, told.granted, told.counted_by) == (counts, counts, by)
    assert told.reason == ("full" if counts else "nothing_counts")


def why(plan: Plan, site: str) -> Why:
    return Explainer(plan).of(site, "mask")


def test_each_site_reads_why_it_got_what_it_got() -> None:
    demands = [
        Demand("甲", "mask", 60, tier=1), Demand("乙", "mask", 100, tier=2), Demand("丙", "mask", 100, tier=2),
        Demand("丁", "mask", 50, tier=3), Demand("戊", "mask", 10, tier=1), Demand("己", "mask", 10, tier=1),
    ]  # fmt: skip
    supplies = [Supply("东仓", "mask", 110), Supply("西仓", "mask", 50)]
    leads = [LeadTime("东仓", site, Decimal(5)) for site in "甲乙丙丁"]
    leads += [LeadTime("西仓", "丙", Decimal(5)), LeadTime("西仓", "戊", Decimal(50))]
    plan = certified(snapshot(demands, supplies, leads))
    assert granted(plan) == {"甲": 60, "乙": 50, "丙": 50, "丁": 0, "戊": 0, "己": 0}
    assert why(plan, "甲").reason == "full"
    middle = why(plan, "乙")
    assert (middle.reason, middle.level, middle.warehouses, middle.beside) == ("level", (1, 2), ("东仓",), 1)
    last = why(plan, "丁")
    assert (last.reason, last.by, last.warehouses) == ("shut_out", "tier 2", ("东仓",))
    assert (why(plan, "戊").reason, why(plan, "戊").too_far) == ("unreachable", 1)
    deadline = plan.snapshot.deadline
    assert words(middle, deadline) == (
        "乙: mask: 100 asked, tier 2; 50 granted (50.0%): 东仓 could give no more; "
        "everybody held back by them alone ends at the same share (1/2 = 50.0%, tier 2; others: 1)"
    )
    assert words(why(plan, "戊"), deadline).endswith("no stock can arrive within 48 hours; warehouses too far away: 1")
    with pytest.raises(NotFound, match="'庚' did not ask"):
        why(plan, "庚")


def test_a_queue_and_a_rule_of_proportion_are_shown_beside_the_plan() -> None:
    demands = [Demand("early", "mask", 100), Demand("late", "mask", 100), Demand("away", "mask", 100)]
    supplies = [Supply("V", "mask", 100), Supply("W", "mask", 50)]
    leads = [LeadTime(*way, Decimal(1)) for way in (("V", "early"), ("V", "late"), ("W", "late"), ("W", "away"))]
    fair, queue, parts = compare(certified(snapshot(demands, supplies, leads)))
    assert [way.name for way in (fair, queue, parts)] == ["fair", "first come", "pro rata"]
    assert fair.figures.units == queue.figures.units == parts.figures.units == 150
    assert fair.figures.worst == (50, 100) and fair.figures.gini == 0 and fair.figures.jain == 1
    assert queue.figures.worst == (0, 100) and queue.figures.gini > 0.3
    assert 0 < parts.figures.worst_share < 0.5
    assert list(fair.tiers) == [1] and fair.tiers[1] == fair.figures
