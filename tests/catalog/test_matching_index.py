"""Promises of proposing listings to the catalogue's products: explained, incremental, one product a vendor and SKU."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.matching import Difference, Index, Offer

ITEM = "4006381333931"
PRODUCTS = [
    Offer(
        "1",
        "索尼 WH-1000XM5 无线降噪耳机 黑色",
        other_titles=("Sony WH-1000XM5 wireless headphones black",),
        brand="索尼",
    ),
    Offer(
        "2",
        "索尼 WH-1000XM5 无线降噪耳机 银色",
        other_titles=("Sony WH-1000XM5 wireless headphones silver",),
        brand="索尼",
    ),
    Offer("3", "SanDisk Ultra 64GB microSDXC", brand="SanDisk"),
    Offer("4", "SanDisk Ultra 128GB microSDXC", brand="SanDisk"),
    Offer("5", "稳健 N95医用防护口罩 30只/盒", gtin=ITEM),
    Offer("6", "汤臣倍健 维生素C片 100片"),
]


def ask(title: str, index: Index | None = None, **more: str) -> tuple[str, str | None]:
    [proposal] = (index or Index(PRODUCTS)).propose([Offer("x", title, **more)])
    return proposal.decision, proposal.product


def test_a_listing_finds_its_product_in_either_language() -> None:
    assert ask("Sony WH1000XM5 headphones, black") == ("match", "1")
    assert ask("索尼WH-1000XM5 头戴式耳机 银色") == ("match", "2")
    assert ask("64 GB SanDisk Ultra micro SDXC card") == ("match", "3")


def test_what_the_catalogue_does_not_have_is_new() -> None:
    assert ask("Sony WH-1000XM4 headphones black") == ("new", None)
    assert ask("SanDisk Ultra 256GB microSDXC") == ("new", None)
    assert ask("garden hose reel") == ask("") == ("new", None)


def test_a_listing_that_fits_two_products_alike_is_for_a_person() -> None:
    [proposal] = Index(PRODUCTS).propose([Offer("x", "Sony WH-1000XM5 wireless headphones")])
    assert proposal.decision == "review" and proposal.product in ("1", "2")


def test_a_proposal_says_what_agrees_and_what_does_not() -> None:
    [proposal] = Index(PRODUCTS[2:3]).propose([Offer("x", "SanDisk Ultra 256 GB microSDXC")])
    assert (proposal.product, proposal.nearest) == (None, "3")
    assert Difference("storage", "256gb", "64gb") in proposal.conflicts
    [proposal] = Index(PRODUCTS).propose([Offer("x", "口罩", gtin=ITEM)])
    assert proposal.decision == "match" and proposal.agreeing[0] == Difference("gtin", "0" + ITEM, "0" + ITEM)


def test_two_listings_of_one_vendor_never_get_one_product_unless_they_carry_its_gtin() -> None:
    index = Index(PRODUCTS)
    title = "SanDisk Ultra 64GB microSDXC"
    first, second = index.propose([Offer("a", title, vendor="v"), Offer("b", title, vendor="v")])
    assert (first.decision, second.decision) == ("match", "review") and "vendor" in second.doubts
    both = index.propose([Offer("a", title, vendor="v"), Offer("b", title, vendor="w")])
    assert [p.decision for p in both] == ["match", "match"]
    same = index.propose([Offer(k, "口罩", vendor="v", gtin=ITEM) for k in "ab"])
    assert [p.product for p in same if p.decision == "match"] == ["5", "5"]


def test_a_gtin_on_another_pack_is_for_a_person() -> None:
    [proposal] = Index(PRODUCTS).propose([Offer("x", "稳健口罩 50只/盒", gtin=ITEM)])
    assert (proposal.decision, proposal.product, proposal.doubts) == ("review", "5", ("gtin against count",))


def test_a_product_that_the_vendor_is_on_already_is_not_proposed_to_its_other_listings() -> None:
    index = Index([replace(PRODUCTS[2], vendors=frozenset({"v"})), replace(PRODUCTS[4], vendors=frozenset({"v"}))])
    assert ask("SanDisk Ultra 64GB microSDXC", index, vendor="v") == ("new", None)
    assert ask("SanDisk Ultra 64GB microSDXC", index, vendor="w") == ("match", "3")
    assert ask("口罩", index, vendor="v", gtin=ITEM) == ("match", "5")


def test_products_that_come_and_go_are_answered_for_at_once() -> None:
    index = Index(PRODUCTS[:2])
    assert ask("SanDisk Ultra 64GB microSDXC", index) == ("new", None)
    index.add(PRODUCTS[2:])
    assert ask("SanDisk Ultra 64GB microSDXC", index) == ("match", "3")
    assert len(index) == 6 and "3" in index
    index.add([replace(PRODUCTS[2], title="SanDisk Ultra 32GB microSDXC")])
    assert ask("SanDisk Ultra 64GB microSDXC", index) == ("new", None) and len(index) == 6
    index.remove(["3", "1", "nothing"])
    assert ask("SanDisk Ultra 32GB microSDXC", index) == ("new", None) and len(index) == 4


def test_an_index_that_began_empty_grows_into_one_that_was_built() -> None:
    products = [Offer(f"p{k}", f"brand{k % 9} kettle kx{k} {k % 5}.5 litre") for k in range(700)]
    grown = Index()
    for start in range(0, 700, 70):
        grown.add(products[start : start + 70])
    listings = [Offer(f"l{k}", f"kettle KX-{k} brand{k % 9}") for k in range(0, 700, 9)]
    found = [p.product for p in grown.propose(listings)]
    assert found == [p.product for p in Index(products).propose(listings)] == [f"p{k}" for k in range(0, 700, 9)]


@settings(max_examples=40, deadline=None)
@given(
    st.permutations(PRODUCTS), st.permutations(["Sony WH1000XM5 black", "SanDisk 64GB", "维生素C 100片", "口罩 30只"])
)
def test_neither_the_order_of_products_nor_of_listings_matters(products: list[Offer], titles: list[str]) -> None:
    found = {p.listing: (p.product, p.decision) for p in Index(products).propose([Offer(t, t) for t in titles])}
    kept = {p.listing: (p.product, p.decision) for p in Index(PRODUCTS).propose([Offer(t, t) for t in sorted(titles)])}
    assert found == kept


def test_an_empty_index_answers_new() -> None:
    assert [p.decision for p in Index().propose([Offer("x", "anything")])] == ["new"]
    assert Index(PRODUCTS).propose([]) == []
