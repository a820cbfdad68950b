"""Promises of the bulk path's parts: arrays that travel as text, words cut piece by piece, and two transactions that
bring the same new thing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog import landing, segment
from catalog.batching import Batch
from catalog.ingest import put_connection
from catalog.segment import search_tokens
from catalog.store.literals import integers, texts
from connectors import api as connectors
from connectors.contracts import ConnectionView, ListingIn
from hub.kernel.db import Database, uow
from hub.kernel.errors import Retry
from tests.catalog.kit import T0, connection, fetch, row

GTIN = "06901234567892"
SIGNS = ["", '"', '""', "\\", '\\"', ",", "{", "}", " ", "\t\n", "NULL", "null", "口罩", "😀", "'", "\x01", 'a"b', "a"]


async def test_array_text_carries_whatever_a_vendor_writes(database: Database) -> None:
    async with uow() as tx:
        for left in SIGNS:
            for right in SIGNS:
                for values in ([left], [left, right], [left + right, left]):
                    assert await tx.fetchval("SELECT $1::text::text[]", texts(values)) == values
        assert await tx.fetchval("SELECT $1::text::text[]", texts([])) == []
        numbers = [1, None, -5, 2**62]
        assert await tx.fetchval("SELECT $1::text::bigint[]", integers(numbers)) == numbers
        assert await tx.fetchval("SELECT $1::text::bigint[]", integers([])) == []


PIECES = [
    "口罩", "布洛芬缓释胶囊", "500", "0.3", "ml", "ｇ", "kg-5", "\u3000", "\xa0", "¨", "\u0308x", "Nestlé's",
    "WH-1000XM5", "N95", "５００", "ΟΔΟΣ", "İ", "½", "٣", "boxes", "a&b", "\t", "", "pcs", "w", "v", "5 l 3 ml",
    "10 w-5 g", "x" * 30,
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=9), st.lists(st.sampled_from(PIECES), max_size=3))
def test_words_cut_piece_by_piece_are_those_of_the_whole_text(title: list[str], brand: list[str]) -> None:
    whole = segment._words(segment.fold(" ".join(title) + "\n" + " ".join(brand)))
    assert set(search_tokens(" ".join(title), brand=" ".join(brand)).split(" ")) - {""} == set(whole)


async def _view(connection_id: int) -> ConnectionView:
    async with uow() as tx:
        view = await connectors.get_connection(tx, connection_id)
        await put_connection(tx, view)
    return view


async def _meet(first: tuple[ConnectionView, ListingIn], second: tuple[ConnectionView, ListingIn]) -> str:
    """Land both, the second while the first is not committed yet; what the second was told."""

    async def land_second() -> Any:
        async with uow() as tx:
            await landing.land(tx, second[0], Batch.pushed([second[1]], [], T0), None)

    async with uow() as tx:
        await landing.land(tx, first[0], Batch.pushed([first[1]], [], T0), None)
        other = asyncio.create_task(land_second())
        await asyncio.sleep(0.2)
        assert not other.done(), "the second waits for the first"
    with pytest.raises(Retry) as told:
        await other
    await land_second()
    return told.value.code


async def test_a_listing_that_another_transaction_brings_first_is_joined_by_the_next_try(database: Database) -> None:
    view = await _view(await connection())
    assert await _meet((view, row("A")), (view, row("A", price="8.80"))) == "raced"
    kept = await fetch("SELECT vendor_sku, price::text FROM catalog_listings")
    assert kept == [{"vendor_sku": "A", "price": "8.8000"}]


async def test_a_product_that_another_vendor_brings_first_is_joined_by_the_next_try(database: Database) -> None:
    one, two = await _view(await connection("甲")), await _view(await connection("乙"))
    assert await _meet((one, row("A", gtin=GTIN)), (two, row("B", gtin=GTIN))) == "raced"
    assert await fetch("SELECT count(DISTINCT product_id) AS n FROM catalog_listings") == [{"n": 1}]
    assert len(await fetch("SELECT id FROM catalog_products")) == 1
