"""Which offer serves which line."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from catalog.contracts import Offer
from hub.kernel.types import DeliveryMode, Kind, Level
from orders.routing import Miss, Why, Wish, plan, rank
from orders.service import refusal


def offer(listing: int, price: str = "10", available: int | None = 100, **more: Any) -> Offer:
    values: dict[str, Any] = {
        "listing_id": listing, "product_id": 1, "connection_id": listing, "vendor_id": listing, "vendor_name": "v",
        "vendor_sku": "s", "title": "t", "kind": Kind.GOODS, "mode": DeliveryMode.PARCEL, "price": Decimal(price),
        "currency": "CNY", "available": available, "level": Level.IN_STOCK, "fresh": True,
    }  # fmt: skip
    return Offer(**{**values, **more})


def wish(quantity: int = 1, **more: Any) -> Wish:
    return Wish(**{"line_no": 1, "product_id": 1, "listing_id": None, "quantity": quantity, **more})


def order_of(wanted: Wish, offers: list[Offer]) -> list[int]:
    ranked = rank(wanted, offers)
    assert not isinstance(ranked, Miss), ranked
    return [o.listing_id for o in ranked]


def why(wanted: Wish, offers: list[Offer]) -> Why:
    ranked = rank(wanted, offers)
    assert isinstance(ranked, Miss)
    return ranked.why


def test_cheapest_first_then_better_stocked_then_the_lower_vendor() -> None:
    offers = [offer(1, "10", 5), offer(2, "9", 3), offer(3, "10", 50), offer(4, "10", 5), offer(5, "10", None)]
    assert order_of(wish(), offers) == [2, 3, 1, 4, 5]


def test_only_fresh_and_sufficient_stock_serves() -> None:
    short = [offer(1, available=4), offer(2, fresh=False), offer(3, level=Level.OUT), offer(4, available=0)]
    assert order_of(wish(5), [*short, offer(5, "99", 5)]) == [5]
    missed = rank(wish(5), short)
    assert isinstance(missed, Miss) and (missed.why, missed.available) == (Why.OUT_OF_STOCK, 4)


def test_what_parity_holds_is_not_bought() -> None:
    assert order_of(wish(), [offer(1, "1", held_by_parity=True), offer(2, "2")]) == [2]
    assert why(wish(), [offer(1, held_by_parity=True)]) is Why.HELD
    assert order_of(wish(), [offer(1, "1", blocked_by_parity="8 % above"), offer(2, "2")]) == [2]
    blocked = [offer(1, "3", blocked_by_parity="9 % above"), offer(2, "2", blocked_by_parity="8 % above"),
               offer(3, "1", held_by_parity=True)]  # fmt: skip
    missed = rank(wish(), blocked)
    assert isinstance(missed, Miss) and (missed.why, missed.blocked) == (Why.BLOCKED, "8 % above")
    refused = refusal([missed])
    assert (refused.code, refused.detail) == (
        "blocked_by_parity", "line 1: this mall's parity policy blocks every offer: 8 % above",
    )  # fmt: skip


def test_a_listing_pins_its_vendor() -> None:
    assert order_of(wish(product_id=None, listing_id=2), [offer(1, "1"), offer(2, "2")]) == [2]
    assert why(wish(product_id=None, listing_id=2), [offer(1), offer(2, available=0)]) is Why.OUT_OF_STOCK
    assert why(wish(product_id=None, listing_id=3), [offer(1)]) is Why.UNKNOWN


def test_max_price_is_a_ceiling_in_its_currency() -> None:
    offers = [offer(1, "10.01"), offer(2, "10.00"), offer(3, "1.00", currency="USD")]
    assert order_of(wish(max_price=Decimal("10.00"), currency="CNY"), offers) == [2]
    missed = rank(wish(max_price=Decimal("9.99"), currency="CNY"), offers)
    assert isinstance(missed, Miss) and missed.why is Why.PRICE and missed.offer == offers[1]
    assert why(wish(max_price=Decimal(5), currency="EUR"), offers) is Why.CURRENCY


def test_a_vendor_is_never_tried_twice_for_a_line() -> None:
    offers = [offer(1, "1"), offer(2, "2")]
    assert order_of(wish(tried=frozenset({1})), offers) == [2]
    assert why(wish(tried=frozenset({1, 2})), offers) is Why.TRIED


def test_two_lines_never_count_on_the_same_unit() -> None:
    lines = [wish(3, line_no=1), wish(3, line_no=2), wish(1, line_no=3), wish(5, line_no=4)]
    made = plan(lines, [offer(1, "1", 4), offer(2, "2", 4)])
    assert [(c.wish.line_no, c.offer.listing_id) for c in made.choices] == [(1, 1), (2, 2), (3, 1)]
    assert [(m.wish.line_no, m.why) for m in made.misses] == [(4, Why.OUT_OF_STOCK)]


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.none() | st.integers(0, 9), st.booleans(), st.booleans()),
        min_size=1,
        max_size=8,
    ),
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_same_offers_in_any_order_give_the_same_plan(
    drawn: list[tuple[int, int | None, bool, bool]], quantities: list[int], shuffle: random.Random
) -> None:
    offers = [
        offer(i, str(price), available, fresh=fresh, held_by_parity=held)
        for i, (price, available, fresh, held) in enumerate(drawn, 1)
    ]
    wishes = [wish(quantity, line_no=i) for i, quantity in enumerate(quantities, 1)]
    made = plan(wishes, offers)
    shuffled = list(offers)
    shuffle.shuffle(shuffled)
    assert plan(wishes, shuffled) == made
    assert len(made.choices) + len(made.misses) == len(wishes)
    for chosen in offers:
        units = sum(c.wish.quantity for c in made.choices if c.offer == chosen)
        assert chosen.available is None or units <= chosen.available
        assert units == 0 or (chosen.fresh and not chosen.held_by_parity)
