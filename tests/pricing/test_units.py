"""Packs are read for what they say, and never guessed."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.matching import quantities
from pricing import units
from pricing.units import NOT_UNDERSTOOD, Pack, read_pack, same_measure

READ = [
    ("500ml*12瓶", "6000", "ml"),
    ("6×500 ml", "3000", "ml"),
    ("5００ＭＬ＊１２瓶", "6000", "ml"),
    ("550ml*24瓶/箱", "13200", "ml"),
    ("1.5L*6", "9000", "ml"),
    ("24 bottles of 500 ml", "12000", "ml"),
    ("Water, 500 ml (Pack of 12)", "6000", "ml"),
    ("500mlx12", "6000", "ml"),
    ("2 kg (4x500g)", "2000", "g"),
    ("1kg(500g*2)", "1000", "g"),
    ("0.3g*20粒", "6", "g"),
    ("100mg*60片", "6", "g"),
    ("1,000g", "1000", "g"),
    ("5斤", "2500", "g"),
    ("50只/盒×2", "100", "piece"),
    ("50只*2盒", "100", "piece"),
    ("10片/板*2板/盒", "20", "piece"),
    ("医用外科口罩 50片装", "50", "piece"),
    ("100抽*24包", "2400", "piece"),
    ("6-pack", "6", "piece"),
    ("60x90cm 2条", "2", "piece"),
    ("12瓶", "12", "bottle"),
    ("一箱24瓶", "24", "bottle"),
    ("2盒", "2", "box"),
    ("2两", "100", "g"),
    ("1斤2两", "600", "g"),
    ("半斤装", "250", "g"),
    ("五斤装", "2500", "g"),
    ("十二瓶装", "12", "bottle"),
    ("三只松鼠 每日坚果 750g", "750", "g"),  # a brand, not three of anything
    ("10包邮 500g", "500", "g"),
    ("3层100抽*24包", "2400", "piece"),
    ("10卷*2提", "20", "roll"),
    ("100g*5袋/盒", "500", "g"),
    ("90粒/瓶*3", "270", "piece"),
    ("1打", "12", "piece"),
    ("2 dozen eggs", "24", "piece"),
    ("5lb", "2267.96185", "g"),
    ("16 oz", "453.592370000", "g"),
    ("24 x 12 fl. oz. cans", "8517.1765140000", "ml"),
    ("12 fl oz (355 ml)", "355", "ml"),  # one content told twice: the metric figure counts
    ("16 oz (1 lb) 454g", "454", "g"),
    ("1 gallon", "3785.411784", "ml"),
    ("8 fl oz (Pack of 3)", "709.7647095000", "ml"),
    ("Pack of 6 500ml", "3000", "ml"),
    ("case of 24 500 ml", "12000", "ml"),
    ("twin pack 50ml", "100", "ml"),
    ("(4x500g) x 2", "4000", "g"),
]

NOT_READ = [
    None,
    "",
    "经典款",
    "10x42 binoculars",
    "iPod touch 8GB",
    "60*90cm",
    "500g 2袋",  # 500 g in two bags, or two bags of 500 g?
    "2盒*50",  # fifty of what?
    "500滴*2瓶",
    "买2送1 500g",
    "355 ml (x24)",
    "355ml, x24",
    "12 fl oz (355 ml) x 24",
    "12+2罐",
    "500ml+100ml",
    "4 x 6-pack 330ml cans",
    "500ml两瓶装",
    "1 imp gal",
    "1 lb 4 oz",
    "500-600g",
    "0g糖",
    "0,5 l",
    "500g*2kg",
    "9" * 500 + "g",
]


@pytest.mark.parametrize(("text", "holds", "unit"), READ)
def test_a_clear_pack_is_read(text: str, holds: str, unit: str) -> None:
    assert read_pack(text) == Pack(Decimal(holds), unit, understood=True)


@pytest.mark.parametrize("text", NOT_READ)
def test_an_unclear_pack_is_one_piece_and_says_so(text: str | None) -> None:
    assert read_pack(text) == NOT_UNDERSTOOD


@given(
    st.integers(1, 5000),
    st.sampled_from(["ml", "g", "克", "毫升"]),
    st.integers(1, 200),
    st.sampled_from(["*", "×", "x", " X ", " * ", "＊"]),
    st.booleans(),
)
def test_measure_times_count_multiplies_in_either_order(
    size: int, unit: str, count: int, times: str, swapped: bool
) -> None:
    text = f"{count}{times}{size}{unit}" if swapped else f"{size}{unit}{times}{count}"
    pack = read_pack(text)
    assert (pack.units, pack.understood) == (Decimal(size * count), True)
    assert pack.unit == ("ml" if unit in ("ml", "毫升") else "g")


@given(st.text(max_size=300))
def test_no_text_breaks_the_reading(text: str) -> None:
    pack = read_pack(text)
    assert pack.units > 0
    assert pack.understood or pack == NOT_UNDERSTOOD


def test_packs_of_different_kinds_are_never_compared() -> None:
    assert same_measure(read_pack("500ml*12瓶"), read_pack("6L"))
    assert not same_measure(read_pack("500ml*12瓶"), read_pack("12瓶"))
    assert not same_measure(read_pack("24片"), read_pack("整箱"))  # 整箱 may be 24 too
    assert same_measure(read_pack("整箱"), read_pack("case"))


def test_the_matcher_and_the_price_check_mean_the_same_by_a_unit() -> None:
    """Two readings, one meaning: docs/adr/0013."""
    matcher = quantities._UNITS
    measures = {**{word: ("mass", scale) for word, (unit, scale) in units._MEASURES.items() if unit == "g"}}
    measures |= {word: ("volume", scale) for word, (unit, scale) in units._MEASURES.items() if unit == "ml"}
    both = measures.keys() & matcher.keys()
    assert len(both) >= 20
    for word in both:
        dimension, scale = measures[word]
        assert (matcher[word][0], matcher[word][2]) == (dimension, pytest.approx(float(scale), rel=1e-5)), word
    counted = units._COUNTERS.keys() & matcher.keys()
    assert len(counted) >= 20
    assert {matcher[word][0] for word in counted} == {"count"}
