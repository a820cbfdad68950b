"""Promises of pairing two tables: what is refused whatever the text says, what does not change the answer, and how
much of real price lists is found."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.matching import Offer, Pair, match_tables

ITEM, CASE = "4006381333931", "14006381333938"


def one(left: str, right: str, **more: tuple[Any, Any]) -> Pair | None:
    """The pair that two tables of one row each give."""
    sides = [Offer(side, title) for side, title in (("l", left), ("r", right))]
    for name, values in more.items():
        sides = [replace(side, **{name: value}) for side, value in zip(sides, values, strict=True)]
    pairs = match_tables(sides[:1], sides[1:])
    return pairs[0] if pairs else None


def decision(left: str, right: str, **more: tuple[Any, Any]) -> str:
    pair = one(left, right, **more)
    return pair.decision if pair else "new"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Coca-Cola 330ml can 6-pack", "Coca-Cola 330ml can"), ("Coca-Cola 330ml x 6", "Coca-Cola 330ml x 24"),
        ("SanDisk Ultra 64GB microSDXC", "SanDisk Ultra 128GB microSDXC"), ("U盘 金士顿 64G", "U盘 金士顿 128GB"),
        ("Apple iPhone 13 128GB Blue", "Apple iPhone 13 128GB Black"), ("iPhone 13 128GB", "iPhone 13 Pro 128GB"),
        ("Apple iPhone 13 128GB", "Apple iPhone 14 128GB"), ("Apple iPhone 13 case", "Apple iPhone 13"),
        ("Office 2007 Professional", "Office 2010 Professional"), ("Office 2007 Standard", "Office 2007 Professional"),
        ("Norton AntiVirus 5 user", "Norton AntiVirus 10 user"), ("稳健 N95口罩 30只/盒", "稳健 N95口罩 20只/盒"),
        ("农夫山泉 550ml*24瓶", "农夫山泉 550ml"), ("Mate 60 12GB+512GB", "Mate 60 12GB+256GB"),
        ("Sony WH-1000XM5 headphones", "Sony WH-1000XM4 headphones"),
        ("Nike Air Max 90 white", "Nike Air Max 95 white"),
        ("Panasonic KX-TG8232B phone", "Panasonic KX-TG8232W phone"),
        ("美的电饭煲 MB-FB40 4升", "美的电饭煲 MB-FB50 5升"),
        ("汤臣倍健 维生素C 100片", "汤臣倍健 维生素C 60片"), ("Quicken 2006 for mac", "Quicken 2006 for windows"),
        ("蒙牛纯牛奶 250ml*16盒", "伊利纯牛奶 250ml*16盒"), ("XDK 4096 headphones Sarmi", "XDK4076 headphones Sarmi"),
        ("德芙巧克力 草莓味 43g", "德芙巧克力 香草味 43g"), ("Levi jeans men blue", "Levi jeans women blue"),
    ],
)  # fmt: skip
def test_another_pack_size_colour_model_edition_or_maker_is_another_thing(left: str, right: str) -> None:
    assert decision(left, right) == decision(right, left) == "new"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Coca-Cola 330ml x 6", "Coca-Cola 6 x 330 ml cans"),
        ("SanDisk Ultra 64GB microSDXC", "SanDisk 64 GB Ultra micro SDXC"),
        ("Sony Turntable - PSLX350H", "Sony PS-LX350H Belt Drive Turntable"),
        ("resumemaker pro 12.0", "resume maker pro 12"),
        ("稳健 N95医用防护口罩 30只/盒", "稳健医用防护口罩N95 30只"),
        ("农夫山泉 550ml*24瓶", "农夫山泉饮用天然水550毫升×24瓶 整箱"),
        ("三只松鼠 每日坚果 750g/30袋", "三只松鼠每日坚果750g 30包"), ("Bosch GSB 13 RE", "BOSCH GSB-13-RE drill"),
    ],
)  # fmt: skip
def test_one_thing_written_in_two_ways_is_found(left: str, right: str) -> None:
    assert decision(left, right) == "match"


def test_the_gtin_decides_before_words_and_a_case_is_not_the_item() -> None:
    assert decision("Stabilo Boss", "text marker", gtin=(ITEM, "0" + ITEM)) == "match"
    assert decision("Stabilo Boss yellow", "Stabilo Boss yellow", gtin=(ITEM, CASE)) == "new"
    assert decision("Stabilo Boss yellow", "Stabilo Boss yellow", gtin=(ITEM, "5901234123457")) == "new"
    assert (
        decision("Stabilo Boss yellow", "Stabilo Boss yellow", gtin=(ITEM, "4006381333932")) == "match"
    )  # a typing slip


def test_the_same_gtin_on_other_packs_is_for_a_person() -> None:
    pair = one("Stabilo 6-pack", "Stabilo 12-pack", gtin=(ITEM, ITEM))
    assert pair is not None and pair.decision == "review"
    assert pair.judgement.conflicts[0].field == "count" and pair.judgement.agreeing[0].field == "gtin"


def test_brand_and_manufacturer_number_decide_before_words() -> None:
    numbers = ("0601217100", "0 601 217 100")
    assert decision("GSB 13 drill", "impact drill", brand=("Bosch", "BOSCH"), mpn=numbers) == "match"
    assert decision("drill", "kettle", brand=("Bosch", "Philips"), mpn=numbers) == "new"


def test_price_says_nothing_but_where_the_gap_is_gross() -> None:
    title = "Bosch GSB 13 RE drill"
    near, same = (
        one(title, title, price=(Decimal(10), x), currency=("CNY", "CNY")) for x in (Decimal(50), Decimal(10))
    )
    assert near is not None and same is not None and near.decision == "match" and near.score == same.score
    assert decision(title, title, price=(Decimal(10), Decimal(51)), currency=("CNY", "CNY")) == "review"
    assert decision(title, title, price=(Decimal(10), Decimal(70)), currency=("CNY", "USD")) == "match"


def test_categories_of_one_taxonomy_refuse_and_those_of_two_do_not() -> None:
    left = [Offer("1", "Lego City police 60246", category="toys"), Offer("2", "Tolkien silmarillion", category="books")]
    right = [Offer("a", "Lego City police 60246", category="books"), Offer("b", "wooden train set", category="toys")]
    assert match_tables(left, right) == []
    assert [p.decision for p in match_tables(left[:1], [replace(right[0], category="spielzeug")])] == ["match"]


_brands = st.sampled_from(("sony", "bosch", "联想", "mifan"))
_nouns = st.sampled_from(("wireless mouse", "蓝牙耳机", "lcd monitor", "face masks", "antivirus software"))
_codes = st.sampled_from(("", "xm5", "wh1000xm4", "wh1000xm5", "gsb-13", "2007", "2008", "13 pro"))
_sizes = st.sampled_from(("", "64GB", "128 GB", "330ml", "6 x 330ml", "20只/盒", "pack of 3"))
_colours = st.sampled_from(("", "black", "白色", "red/black"))
_titles = st.tuples(_brands, _nouns, _codes, _sizes, _colours).map(lambda parts: " ".join(p for p in parts if p))


def table(prefix: str, titles: Sequence[str]) -> list[Offer]:
    return [Offer(f"{prefix}{k}", title) for k, title in enumerate(titles)]


def shown(pairs: Sequence[Pair], *, swapped: bool = False) -> set[tuple[str, str, str]]:
    return {(p.right, p.left, p.decision) if swapped else (p.left, p.right, p.decision) for p in pairs}


@settings(max_examples=60, deadline=None)
@given(st.lists(_titles, min_size=1, max_size=8), st.lists(_titles, min_size=1, max_size=8), st.randoms())
def test_neither_the_order_of_rows_nor_of_tables_changes_anything(
    left: list[str], right: list[str], chance: random.Random
) -> None:
    lefts, rights = table("l", left), table("r", right)
    pairs = match_tables(lefts, rights)
    assert shown(match_tables(rights, lefts), swapped=True) == shown(pairs)
    chance.shuffle(lefts)
    chance.shuffle(rights)
    assert shown(match_tables(lefts, rights)) == shown(pairs)


@settings(max_examples=60, deadline=None)
@given(st.lists(_titles, max_size=10), st.lists(_titles, max_size=10))
def test_no_row_is_used_twice_and_no_pair_contradicts_itself(left: list[str], right: list[str]) -> None:
    pairs = match_tables(table("l", left), table("r", right))
    assert len({p.left for p in pairs}) == len({p.right for p in pairs}) == len(pairs)
    assert not any(p.judgement.conflicts for p in pairs)
    assert all(0 <= p.score <= 1 for p in pairs)


@settings(max_examples=40, deadline=None)
@given(st.lists(_titles, min_size=1, max_size=6, unique=True), st.lists(_titles, min_size=1, max_size=6, unique=True))
def test_an_unrelated_row_changes_no_match_into_another(left: list[str], right: list[str]) -> None:
    before = {p.left: p.right for p in match_tables(table("l", left), table("r", right)) if p.decision == "match"}
    more = [*table("r", right), Offer("z", "garden hose reel 30m with wall bracket qx7781")]
    after = {p.left: p.right for p in match_tables(table("l", left), more) if p.decision == "match"}
    assert all(after.get(k, v) == v for k, v in before.items()) and "z" not in after.values()


def test_empty_tables_have_no_pairs() -> None:
    assert (
        match_tables([], [])
        == match_tables([Offer("a", "x")], [])
        == match_tables([Offer("a", "")], [Offer("b", "")])
        == []
    )


def rows(path: Path, separator: str) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def offers(path: Path, separator: str, title: str) -> list[Offer]:
    return [
        Offer(row["id"], row[title], brand=row.get("manufacturer"), description=row["description"])
        for row in rows(path, separator)
    ]


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("folder", "left", "right", "separator", "title", "least"),
    [("abt_buy", "abt", "buy", "|", "name", 0.95), ("amazon_google", "amazon", "gp", "#", "title", 0.75)],
)
def test_real_price_lists_are_paired_as_people_paired_them(
    realdata: Path, folder: str, left: str, right: str, separator: str, title: str, least: float
) -> None:
    where = realdata / "matching" / folder
    true = {(row["D1"], row["D2"]) for row in rows(where / "gt.csv", separator)}
    pairs = match_tables(
        offers(where / f"{left}.csv", separator, title), offers(where / f"{right}.csv", separator, title)
    )
    for kept in (["match"], ["match", "review"]):
        found = {(p.left, p.right) for p in pairs if p.decision in kept}
        assert 2 * len(found & true) / (len(found) + len(true)) >= least
