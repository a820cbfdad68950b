"""What solver and checker share, the snapshot and the figures, held against plain Python over the rows themselves: a
fault there would deceive both."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fulfillment.allocation.snapshot import ticket
from fulfillment.allocation.solver import solve
from fulfillment.allocation.tables import Demand, Supply
from tests.fulfillment.allocation import brute, kit
from tests.fulfillment.allocation.kit import Draw, granted, rows


def counted(demand: Demand) -> int:
    """What counts of a demand."""
    heads = [] if demand.headcount is None else [demand.headcount * demand.per_head]
    return min([demand.quantity, *([] if demand.cap is None else [demand.cap]), *heads])


def expiry(supply: Supply) -> Decimal:
    assert not supply.expires or isinstance(supply.expires, Decimal)
    return supply.expires if isinstance(supply.expires, Decimal) else Decimal("Infinity")


def ways(draw: Draw) -> dict[tuple[str, str], tuple[Decimal, Decimal]]:
    return {(lead.warehouse, lead.site): (lead.hours, lead.cost) for lead in draw.leads if lead.hours <= kit.HOURS}


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_every_row_of_a_plan_is_possible_by_the_rows_that_came_in(random: Random, mixed: bool) -> None:
    draw = kit.rich(random, mixed=mixed)
    plan = rows(solve(draw.freeze(random)))
    lots = {(lot.warehouse, lot.item, lot.lot): lot for lot in draw.supplies}
    wants = {(demand.site, demand.item): counted(demand) for demand in draw.demands}
    near, sent, got = ways(draw), Counter[tuple[str, str, str]](), Counter[tuple[str, str]]()
    for place, site, item, lot, units in plan:
        supply = lots[place, item, lot]
        assert units > 0 and units % supply.pack == 0
        assert near[place, site][0] <= expiry(supply)
        sent[place, item, lot] += units
        got[site, item] += units
    assert all(units <= lots[lot].quantity for lot, units in sent.items())
    assert all(units <= wants[who] for who, units in got.items())
    for (site, item), want in wants.items():  # nothing that could still go there is left
        for (place, of, lot), supply in lots.items():
            if of == item and (place, site) in near and near[place, site][0] <= expiry(supply):
                full = want - got[site, item] < supply.pack
                assert full or supply.quantity - sent[place, of, lot] < supply.pack


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_shares_are_exact_by_the_rows_that_came_in(random: Random) -> None:
    draw = kit.plain(random)
    got, near = granted(solve(draw.freeze(random))), ways(draw)
    places = [supply.warehouse for supply in draw.supplies]
    reach = [frozenset(at for at, place in enumerate(places) if (place, d.site) in near) for d in draw.demands]
    stock, fixed = [supply.quantity for supply in draw.supplies], dict[int, int]()
    for tier in sorted({demand.tier for demand in draw.demands}):
        want = {at: counted(d) for at, d in enumerate(draw.demands) if d.tier == tier and counted(d)}
        for at, level in brute.exact_levels(stock, reach, want, fixed).items():
            assert abs(got[draw.demands[at].site] - level * want[at]) < 1
        fixed |= {at: got[draw.demands[at].site] for at in want}


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_figures_are_what_a_person_would_count(random: Random, mixed: bool) -> None:
    draw = kit.rich(random, mixed=mixed)
    plan = solve(draw.freeze(random))
    table, figures, near = rows(plan), plan.figures, ways(draw)
    got = Counter[tuple[str, str]]()
    for _place, site, item, _lot, units in table:
        got[site, item] += units
    wants = {(d.site, d.item): counted(d) for d in draw.demands if counted(d)}
    shares = [Fraction(got[who], want) for who, want in wants.items()]
    assert (figures.demands, figures.wanted, figures.units) == (len(wants), sum(wants.values()), got.total())
    assert figures.served == sum(share > 0 for share in shares)
    assert figures.filled == sum(share == 1 for share in shares)
    if shares:
        assert Fraction(*figures.worst) == min(shares)
    assert figures.cost == sum(units * near[place, site][1] for place, site, *_, units in table) * 10_000
    ends = {(place, site, item) for place, site, item, _lot, _units in table}
    assert figures.deliveries == len(ends) and figures.splits == len(ends) - figures.served
    total, squares = sum(shares), sum(share**2 for share in shares)
    gini = sum(abs(a - b) for a in shares for b in shares) / (2 * len(shares) * total) if total else 0
    assert figures.gini == pytest.approx(float(gini), abs=1e-12)
    assert figures.jain == pytest.approx(float(total**2 / (len(shares) * squares)) if squares else 1)


def test_tickets_are_fixed_for_ever() -> None:
    # BLAKE2b (8 bytes) of seed, item and site joined by U+001F, halved: `printf '0\\x1f口罩\\x1fS1' | b2sum -l 64`.
    assert ticket(0, "口罩", "S1") == 0xD63F111AE4CC45CE >> 1
    assert ticket(1, "口罩", "S1") == 0x2D7CD85341AA8A7F >> 1
