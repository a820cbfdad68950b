"""Promises of what is read from titles: amounts, words, variants, codes and GTINs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.matching import Offer
from catalog.matching.codes import rivals
from catalog.matching.gtin import relation, trade_item
from catalog.matching.quantities import Amount, draw_together, same_amount
from catalog.matching.reading import read, read_all
from catalog.matching.text import atoms, fold
from catalog.matching.words import meet, nearness

_WORDS = ("sony", "ps", "lx350h", "pslx350h", "premium", "prem", "7", "70", "黑色")
ITEM, CASE = "4006381333931", "14006381333938"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("64 GB", "64gb"), ("6 x 330 ml", "330ml*6瓶"), ("6-pack", "pack of 6"), ("32 inch", '32"'),
        ("500毫升", "500 ml"),
        ("2盒", "2 boxes"), ("50只/盒", "50 pcs"), ("12-can", "12 cans"), ("twin pack", "2-pack"), ("5 user", "5-user"),
        ("1,000 ml", "1000ml"), ("2-1/2 inch", "2.5 inch"),
    ],
)  # fmt: skip
def test_the_same_amount_is_the_same_words_however_it_is_written(one: str, other: str) -> None:
    assert sorted(atoms(one)[0]) == sorted(atoms(other)[0])


@pytest.mark.parametrize(
    "text",
    ["4G LTE router", "iPhone 6 case", "VN-4100PC", "SE6679 包邮", "Jetflash V10", "Windows 8", "5 in 1 cable", "80's"],
)
def test_what_only_looks_like_an_amount_is_none(text: str) -> None:
    assert draw_together(fold(text))[1] == []


def test_a_size_of_two_sides_is_no_pack_and_a_range_is_no_amount() -> None:
    assert {a.dimension for a in atoms("table 60x90cm")[1]} == {"length"}
    assert atoms("lens 24-105mm")[1] == []


def test_an_inch_may_be_rounded_and_a_gigabyte_may_not() -> None:
    assert same_amount(Amount("length", "in", 13, 330.2), Amount("length", "in", 13.3, 337.8))
    assert not same_amount(Amount("length", "in", 15.4, 391.2), Amount("length", "in", 15.6, 396.2))
    assert same_amount(Amount("length", "in", 32, 812.8), Amount("length", "cm", 81, 810))
    assert not same_amount(Amount("storage", "gb", 64, 64e9), Amount("storage", "gb", 63, 63e9))


@given(st.text(max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    read(Offer("a", text, description=text, brand=text, mpn=text, gtin=text, category=text, pack=text))


def test_colour_edition_platform_and_flavour_are_known_in_both_languages() -> None:
    assert (
        read(Offer("a", "云南白药牙膏 薄荷味 白色")).variants
        == read(Offer("a", "toothpaste peppermint white")).variants
    )
    assert read(Offer("a", "Rose Gold phone")).variants == {"colour": frozenset({"rosegold"})}
    assert "edition" not in read(Offer("a", "chair for home and office")).variants
    assert "colour" not in read(Offer("a", "camera with red eye correction")).variants
    assert read(Offer("a", "Red Bull drink", brand="Red Bull")).variants == {}


def test_a_name_unknown_to_the_dictionary_stays_one_word() -> None:
    assert "博凯堂" in atoms("博凯堂 液晶电视")[0]


def test_every_face_of_a_product_says_what_one_of_them_says() -> None:
    chinese, english = read_all(Offer("a", "蓝牙耳机 黑色 64GB", other_titles=("bluetooth headphones",)))
    assert chinese.variants == english.variants == {"colour": frozenset({"black"})}
    assert chinese.amounts == english.amounts != ()


@pytest.mark.parametrize(
    ("one", "other", "kind"),
    [
        ("wh1000xm5", "wh1000xm4", "model"), ("cdpcx355", "cdpcx455", "model"), ("cs3", "cs2", "model"),
        ("kxtg8232b", "kxtg8232w", "model"), ("kxtg8232bk", "kxtg8232bl", "end"), ("ts8gsdhc6s5", "ts8gsdhc6", "end"),
        ("sbv40s", "706018", ""), ("a1", "zz99", ""), ("x100", "x100", ""),
    ],
)  # fmt: skip
def test_codes_built_alike_with_other_digits_or_colours_are_other_models(one: str, other: str, kind: str) -> None:
    assert rivals(one, other) == rivals(other, one) == kind


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("sony ps lx350h turntable", "sony pslx350h turntable"), ("print shop 20", "printshop 20"),
        ("photoshop premium", "photoshop prem"), ("headphones", "headphons"), ("coolpix s60", "coolpixs60"),
    ],
)  # fmt: skip
def test_joined_shortened_and_mistyped_words_meet(left: str, right: str) -> None:
    met_left, met_right = meet(left.split(), right.split())
    assert min(met_left) > 0.5 and min(met_right) > 0.5


def test_numbers_are_never_nearly_the_same() -> None:
    assert nearness("10000", "10001") == nearness("b64", "b65") == 0


@given(st.lists(st.sampled_from(_WORDS), max_size=6))
def test_meeting_is_the_same_from_both_sides(words: list[str]) -> None:
    other = ["pslx350h", "prem", "7"]
    assert meet(words, other) == meet(other, words)[::-1]


def test_a_gtin_counts_when_its_digits_are_right_and_anybody_may_know_it() -> None:
    assert trade_item(ITEM) == trade_item("0" + ITEM) == "0" + ITEM
    assert trade_item("4006381333932") is None and trade_item("") is None and trade_item("n/a") is None
    assert trade_item("2012345678903") is None  # a shop's own number
    assert trade_item("00000000000000") is None


def test_a_case_is_not_what_is_in_it() -> None:
    assert relation(trade_item(ITEM), trade_item(CASE)) == "other level"
    assert relation(trade_item(ITEM), trade_item(ITEM)) == "same"
    assert relation(trade_item(ITEM), trade_item("5901234123457")) == "different"
    assert relation(None, trade_item(ITEM)) is None
