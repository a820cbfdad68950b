"""The parts of reading: words, plans, and connections for single reads."""

from __future__ import annotations

import asyncio
import functools
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import queryplan
from catalog.queryplan import Plan
from catalog.sample import Product, Sample
from catalog.segment import MAX_QUERY_WORDS, query_tokens, search_tokens, terms, tsquery
from catalog.wish import Order, Wish
from hub.kernel import db
from hub.kernel.db import Database
from hub.kernel.errors import Retry

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_a_title_gives_words_in_both_languages_and_models_joined_and_split() -> None:
    assert search_tokens("一次性医用口罩", "Face Masks").split() == ["一次", "一次性", "医用", "口罩", "face", "mask"]
    assert search_tokens("x", model="WH-1000XM5").split() == ["x", "wh-1000xm5", "wh", "1000xm5", "wh1000xm5"]
    assert "500ml" in search_tokens("洗手液 500 ml").split()
    assert search_tokens("Ｎ９５　Nestlé's Boxes").split()[:1] == ["n95"]


SIGNS = frozenset("':\\ \t\n*&|!()<>")


@given(st.text(max_size=80), st.text(max_size=40))
def test_any_text_becomes_lexemes_that_need_no_parser(title: str, brand: str) -> None:
    for token in search_tokens(title, brand=brand).split(" "):
        assert not set(token) & SIGNS
        assert len(token) <= 64
    found = terms(query_tokens(title))
    assert len(found) <= MAX_QUERY_WORDS
    for term in found:
        assert all(lexeme and not set(lexeme) & SIGNS and len(lexeme) <= 64 for way in term.ways for lexeme in way)


WORDS = ["口罩", "医用", "N95", "wh-1000xm5", "masks", "0.3g", "500 ml", "L'Oréal", "boxes", "防雾霾", "20粒", "洗手液"]


@given(st.lists(st.sampled_from(WORDS), min_size=1))
def test_a_product_is_found_by_its_own_words(words: list[str]) -> None:
    held = set(search_tokens(" ".join(words)).split())
    for term in terms(query_tokens(" ".join(words))):
        assert any(set(way) <= held for way in term.ways), (term, held)


async def test_postgresql_reads_every_query_that_can_be_typed(database: Database) -> None:
    rng = random.Random(5)
    alphabet = "口罩 n95-'&|!:*()\\\"<> é９ñ+./…的\u200b🙂"
    for _ in range(60):
        typed = "".join(rng.choices(alphabet, k=rng.randint(1, 30)))
        found = terms(query_tokens(typed))
        if found:
            held = search_tokens(typed)
            assert await db.read_value("SELECT $1::text::tsvector @@ $2::text::tsquery", held, tsquery(found)), typed


@functools.cache
def _sample() -> Sample:
    """200,000 products, of which every fifth is looked at: a word in every tenth, a rare one, and a category."""
    held = ((10, 0, ["mask", "face", "口罩"]), (50, 1, ["masque"]), (4_000, 2, ["rare"]))
    sample = Sample(5, NOW, {3: "three"})
    sample.add(
        Product(
            "goods", "parcel", "a" if n % 20 == 0 else "b", "brand", None, None, Decimal(n % 90), n % 10 != 1,
            [3] if n % 40 == 0 else [4],
            next((words for every, rest, words in held if n % every == rest), []),
        )
        for n in range(40_000)
    )  # fmt: skip
    sample.close()
    return sample


def _wish(q: str, **given: Any) -> Wish:
    return Wish(terms=tuple(terms(query_tokens(q))), **given)


@pytest.mark.parametrize(
    ("wish", "plan"),
    [
        (_wish("mask 口罩x"), Plan.GATHER),
        (_wish("mask"), Plan.WALK),
        (_wish("rare"), Plan.GATHER),
        (_wish("unheard"), Plan.GATHER),
        (_wish(""), Plan.WALK),
        (_wish("", category="a"), Plan.WALK),
        (_wish("", vendor_id=3), Plan.WALK),
        (_wish("mask", gtin="0"), Plan.GATHER),
    ],
)
def test_few_hits_are_gathered_and_many_walked(wish: Wish, plan: Plan) -> None:
    assert queryplan.choose(_sample(), queryplan.estimate(_sample(), wish, Order.POPULAR, 20, True)) is plan


def test_hits_are_those_of_words_and_filters_together() -> None:
    def hits(wish: Wish) -> float:
        return queryplan.estimate(_sample(), wish, Order.POPULAR, 20, None).hits

    assert (hits(_wish("")), hits(_wish("mask")), hits(_wish("mas")), hits(_wish("face mask"))) == (
        200_000, 20_000, 24_000, 20_000,
    )  # fmt: skip
    assert hits(_wish("mask", category="a")) == 10_000
    assert hits(_wish("mask", category="a", vendor="three")) == hits(_wish("", vendor_id=3)) == 5_000
    assert hits(_wish("mask", vendor="nobody")) == hits(_wish("rare", in_stock=True, brand="x")) == 0
    assert hits(_wish("masque", in_stock=True)) == 0
    assert hits(_wish("", price_min=Decimal(10), price_max=Decimal(18))) == pytest.approx(20_000, rel=0.01)


def test_a_word_that_stands_as_it_is_typed_is_not_taken_for_a_beginning() -> None:
    assert _sample().finished(_wish("mask").terms)
    assert not _sample().finished(_wish("mas").terms)
    assert not _sample().finished(_wish("口罩").terms)
    assert not _sample().finished(_wish("rare").terms)  # too few to tell
    assert not _sample().finished(_wish("unheard").terms)


async def test_a_read_over_a_connection_that_died_idle_is_sent_again(database: Database) -> None:
    first = await db.read_value("SELECT pg_backend_pid()")
    async with db.uow() as tx:
        await tx.run(f"SELECT pg_terminate_backend({first})")
    await asyncio.sleep(0.1)
    assert await db.read_value("SELECT pg_backend_pid()") != first


async def test_a_cancelled_read_leaves_no_answer_behind_for_the_next(database: Database) -> None:
    slow = asyncio.create_task(db.read_value("SELECT pg_sleep(20)"))
    await asyncio.sleep(0.1)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert await db.read_value("SELECT 7") == 7


async def test_reads_beyond_the_limit_wait_their_turn(database: Database, schema: str) -> None:
    from hub.kernel.readers import Readers

    two = Readers(schema, 2, {})
    pids = await asyncio.gather(*(two.fetch("SELECT pg_backend_pid(), pg_sleep(0.01)") for _ in range(10)))
    await two.close()
    assert len({rows[0][0] for rows in pids}) == 2


async def test_a_read_cannot_write_and_an_error_spoils_nothing(database: Database) -> None:
    with pytest.raises(asyncpg.PostgresError, match="read-only"):
        await db.read("CREATE TABLE nope (id int)")
    assert await db.read_value("SELECT 1") == 1


async def test_a_database_out_of_reach_asks_to_try_again(database: Database) -> None:
    from hub.kernel.readers import Readers

    kept, database.readers = database.readers, Readers("postgresql:///nope?host=/nowhere", 1, {})
    try:
        with pytest.raises(Retry):
            await db.read("SELECT 1")
    finally:
        database.readers = kept
