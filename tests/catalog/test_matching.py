"""Promises of matching: what is the same thing, and what only looks like it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.matching import Keys, Product, assign, brand_model_key, conflict, normal, recognise

G1, G2 = "06901234567892", "06923450657713"


def ids() -> Iterator[int]:
    return itertools.count(100)


def products(*listings: Keys, existing: tuple[Product, ...] = ()) -> list[int]:
    numbers = ids()
    return [p.id for p in assign(listings, existing, lambda: next(numbers)).products]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (("3M", "8210-CN"), ("３Ｍ", "8210 cn")),
        (("稳健", "N95/10"), ("稳健 ", "n95-10")),
        (("Philips", "HX6730"), ("PHILIPS", "HX 6730")),
    ],
)
def test_width_case_and_punctuation_do_not_tell_things_apart(left: tuple[str, str], right: tuple[str, str]) -> None:
    assert brand_model_key(*left) == brand_model_key(*right) is not None


@pytest.mark.parametrize(
    ("brand", "model"),
    [(None, "X1"), ("3M", None), ("无", "8210"), ("N/A", "8210"), ("3M", "-"), ("3M", "L"), ("", "")],
)
def test_a_brand_or_model_that_says_nothing_gives_no_key(brand: str | None, model: str | None) -> None:
    assert brand_model_key(brand, model) is None


def test_brand_and_model_do_not_run_into_each_other() -> None:
    assert brand_model_key("ab", "cde") != brand_model_key("abc", "de")


@given(st.text(max_size=40))
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normal(normal(text)) == normal(text)


def test_the_gtin_decides_before_brand_and_model() -> None:
    existing = (Product(1, G1, None), Product(2, None, "b\x1fm"))
    assert products(Keys(G1, "b\x1fm"), existing=existing) == [1]


def test_one_brand_and_model_with_two_gtins_are_two_things() -> None:
    assert len(set(products(Keys(G1, "b\x1fm"), Keys(G2, "b\x1fm")))) == 2
    assert conflict(G1, G2) and not conflict(G1, None)


def test_a_listing_with_neither_key_is_its_own_product_and_keeps_it() -> None:
    assert products(Keys(None, None), Keys(None, None)) == [100, 101]
    assert products(Keys(None, None, 7), existing=(Product(7, None, None),)) == [7]


def test_a_listing_whose_gtin_changed_to_another_leaves_its_product() -> None:
    assert products(Keys(G2, None, 7), existing=(Product(7, G1, None),)) == [100]


def test_a_product_adopts_the_key_it_did_not_have() -> None:
    numbers = ids()
    done = assign([Keys(G1, None, 7), Keys(None, "b\x1fm", 7)], [Product(7, None, None)], lambda: next(numbers))
    assert [(p.id, p.gtin, p.brand_model) for p in done.adopting] == [(7, G1, "b\x1fm")]


@given(st.permutations([Keys(G1, "b\x1fm"), Keys(None, "b\x1fm"), Keys(G1, None)]))
def test_a_batch_meets_on_one_product_when_its_links_come_first(batch: list[Keys]) -> None:
    linked = sorted(batch, key=lambda k: k != Keys(G1, "b\x1fm"))
    assert len(set(products(*linked))) == 1


_keys = st.builds(Keys, st.sampled_from([None, G1, G2]), st.sampled_from([None, "a\x1fm", "b\x1fm"]), st.none())


@given(st.lists(_keys, max_size=12))
def test_no_key_ever_belongs_to_two_products_and_no_product_holds_two_gtins(listings: list[Keys]) -> None:
    numbers = ids()
    done = assign(listings, [], lambda: next(numbers))
    made = {p.id: p for p in done.products}.values()
    gtins = [p.gtin for p in made if p.gtin]
    brand_models = [p.brand_model for p in made if p.brand_model]
    assert len(gtins) == len(set(gtins)) and len(brand_models) == len(set(brand_models))
    for keys, product in zip(listings, done.products, strict=True):
        assert keys.gtin is None or product.gtin == keys.gtin
    found = recognise([(k.gtin, k.brand_model) for k in listings if k.gtin], list(made))
    assert all(p is not None for p in found)
