"""Promises of putting many vendors' offers together."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.matching import Offer, cluster

ITEM = "4006381333931"
THINGS = (
    "Sony WH-1000XM5 {} headphones black", "Sony WH-1000XM5 {} headphones silver",
    "Sony WH-1000XM4 {} headphones black", "SanDisk Ultra 64GB {} microSDXC", "SanDisk Ultra 128GB {} microSDXC",
    "稳健 N95口罩 {} 30只/盒", "稳健 N95口罩 {} 20只/盒",
)  # fmt: skip
MARKET = [
    Offer(f"{vendor}{k}", title.format(word), vendor=vendor)
    for vendor, word in (("a", "new"), ("b", "original"), ("c", ""), ("d", "retail"))
    for k, title in enumerate(THINGS)
]


def together(offers: list[Offer]) -> set[frozenset[str]]:
    found: dict[int, set[str]] = {}
    for offer, number in cluster(offers).items():
        found.setdefault(number, set()).add(offer)
    return {frozenset(members) for members in found.values()}


def test_near_twins_stay_apart_and_each_thing_comes_together_over_vendors() -> None:
    assert together(MARKET) == {frozenset(f"{vendor}{k}" for vendor in "abcd") for k in range(len(THINGS))}


def test_one_vendor_never_comes_twice_into_a_cluster_unless_with_one_gtin() -> None:
    title = "Stabilo Boss marker yellow 70/24"
    assert len(together([Offer("1", title, vendor="v"), Offer("2", title, vendor="v")])) == 2
    assert len(together([Offer(k, title, vendor="v", gtin=ITEM) for k in "12"])) == 1
    three = together([Offer("1", title, vendor="v"), Offer("2", title, vendor="v"), Offer("3", title, vendor="w")])
    assert sorted(map(len, three)) == [1, 2]


def test_a_go_between_does_not_bring_contradictions_together() -> None:
    offers = [
        Offer("1", "Sony WH-1000XM5 headphones black", vendor="a"),
        Offer("2", "Sony WH-1000XM5 headphones", vendor="b"),
        Offer("3", "Sony WH-1000XM5 headphones silver", vendor="c"),
    ]
    assert not any({"1", "3"} <= members for members in together(offers))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(MARKET), unique=True), st.randoms())
def test_the_order_of_offers_changes_nothing(offers: list[Offer], chance: random.Random) -> None:
    before = cluster(offers)
    chance.shuffle(offers)
    assert cluster(offers) == before
    by_cluster: dict[int, list[str]] = {}
    for offer, number in before.items():
        by_cluster.setdefault(number, []).append(offer[0])
    assert all(len(set(vendors)) == len(vendors) for vendors in by_cluster.values())


def test_nothing_makes_no_clusters() -> None:
    assert cluster([]) == {}
    assert len(set(cluster([Offer("1", ""), Offer("2", "", vendor="v")]).values())) == 2
