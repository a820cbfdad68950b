"""Promises of conditional reads and of the stream: what a client has is not sent again, and a cut loses nothing."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator

import pytest

from catalog import changes, web
from hub.kernel.db import Database, uow
from tests.catalog.shop import Reader, feed, hold, item, reader


@pytest.fixture
async def mall(database: Database) -> AsyncIterator[Reader]:
    async with reader() as made:
        yield made


async def ask(mall: Reader, path: str, tag: str | None = None) -> tuple[int, str, bytes]:
    """Status, tag and body of one read."""
    headers = {"Authorization": f"Bearer {mall.key}"} | ({"If-None-Match": tag} if tag is not None else {})
    async with mall.client.get(path, headers=headers) as answer:
        assert answer.headers["Cache-Control"] == "private, no-cache" and answer.headers["Vary"] == "Authorization"
        return answer.status, answer.headers["ETag"], await answer.read()


@pytest.mark.parametrize("path", ["/v1/products/prd_1", "/v1/products?q=口罩&facets=true", "/v1/products"])
async def test_the_same_answer_is_not_sent_again_until_it_says_something_else(mall: Reader, path: str) -> None:
    await feed(1)
    number, offer = await item("口罩", on_hand=5)
    status, tag, body = await ask(mall, path)
    assert (status, number) == (200, 1) and json.loads(body)
    for sent in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        assert await ask(mall, path, sent) == (304, tag, b"")
    for sent in ('"other"', "", 'W/"', tag[:-2] + 'x"'):
        assert (await ask(mall, path, sent))[0] == 200
    seen = {tag}
    for change in (
        "UPDATE catalog_stock SET on_hand = 4",
        "UPDATE catalog_listings SET price = 8",
        "UPDATE catalog_products SET title = '口罩 新'",
        "UPDATE catalog_stock SET reported_at = now() - interval '3 hours'",  # nobody wrote that it went stale
    ):
        async with uow() as tx:
            await tx.run(change)
        status, now, _ = await ask(mall, path, tag)
        assert status == 200 and now not in seen, change
        seen.add(now)
        tag = now
    await hold(mall.mall_id or 0, offer, number)
    web.reading.pricing.api.forget_held()
    assert (await ask(mall, path, tag))[0] == 200, "what this mall holds back counts too"


async def test_a_page_of_changes_is_good_until_anything_changes(mall: Reader) -> None:
    await feed(1)
    number, _ = await item("口罩")
    async with uow() as tx:
        await changes.note(tx, [number])
    _, tag, body = await ask(mall, "/v1/changes")
    assert await ask(mall, "/v1/changes", tag) == (304, tag, b"")
    following = f"/v1/changes?after={json.loads(body)['next']}"
    status, later, _ = await ask(mall, following, tag)
    assert status == 200 and later != tag, "the tag of another page never fits"
    assert (await ask(mall, following, later))[0] == 304
    async with uow() as tx:
        await changes.note(tx, [number])
    assert [(await ask(mall, path, sent))[0] for path, sent in (("/v1/changes", tag), (following, later))] == [200, 200]


async def test_waiting_with_a_tag_ends_with_the_change_or_with_not_modified(
    mall: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "POLL_S", 0.02)
    await feed(1)
    number, _ = await item("口罩")
    path = "/v1/changes?wait=0.2"
    _, tag, _ = await ask(mall, path)
    assert (await ask(mall, path, tag))[0] == 304
    waiting = asyncio.create_task(ask(mall, "/v1/changes?wait=20", (await ask(mall, "/v1/changes?wait=0"))[1]))
    await asyncio.sleep(0.1)
    async with uow() as tx:
        await changes.note(tx, [number])
    status, _, body = await asyncio.wait_for(waiting, 10)
    assert status == 200 and len(json.loads(body)["items"]) == 1


async def test_a_stream_that_is_cut_anywhere_goes_on_after_the_last_whole_event(
    mall: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut after a random number of bytes, again and again; the client knows no more than a browser does."""
    rng = random.Random(4)
    monkeypatch.setattr(web, "POLL_S", 0.01)
    monkeypatch.setattr(web, "STREAM_S", 20.0)
    await feed(1)
    numbers = [(await item(f"口罩 {n}"))[0] for n in range(30)]
    written = asyncio.Event()

    async def write() -> None:
        for _ in range(60):
            async with uow() as tx:
                await changes.note(tx, rng.sample(numbers, rng.choice((1, 2, 9))))
                await asyncio.sleep(rng.choice((0, 0.001, 0.01)))
        written.set()

    async def stretch(last: str) -> tuple[str, list[str], bool]:
        """The last id that arrived whole over one connection, those of its events, and whether there was no more."""
        headers = {"Authorization": f"Bearer {mall.key}"} | ({"Last-Event-ID": last} if last else {})
        most, text, seen = rng.randint(200, 9_000), b"", []
        async with mall.client.get("/v1/changes/stream?limit=7", headers=headers) as answer:
            assert answer.status == 200
            while len(text) < most and b"nothing new" not in text:
                text += await answer.content.read(min(700, most - len(text)))
        for block in text.decode("utf-8", "ignore").split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
            last = fields.get("id", last)
            if "data" in fields:
                seen.append(last)
        return last, seen, b"nothing new" in text

    writing = asyncio.create_task(write())
    last, seen, ended = "", list[str](), False
    while not ended:
        done = written.is_set()
        last, more, quiet = await stretch(last)
        seen += more
        ended = done and quiet
    await writing
    places = [tuple(map(int, cursor.split("."))) for cursor in seen]
    assert places == sorted(set(places)), "each event once, in order"
    async with uow() as tx:
        rows = await tx.fetch("SELECT seq, product_ids FROM catalog_changes ORDER BY seq")
    assert places[-1] == (rows[-1]["seq"] + 1, 0)


async def test_an_old_cursor_is_gone_before_a_stream_begins(mall: Reader) -> None:
    await feed(1)
    numbers = [(await item(f"口罩 {n}"))[0] for n in range(3)]
    for number in numbers:
        async with uow() as tx:
            await changes.note(tx, [number])
    await mall.get("/v1/changes")
    async with uow() as tx:
        await tx.run("UPDATE catalog_changes SET at = now() - interval '90 days' WHERE seq < 3")
    assert await changes.prune() == 2
    headers = {"Authorization": f"Bearer {mall.key}"}
    async with mall.client.get("/v1/changes/stream", headers={**headers, "Last-Event-ID": "1.1"}) as answer:
        assert answer.status == 410 and answer.content_type == "application/problem+json"
    said = await mall.get("/v1/changes", after="1.1", expect=410)
    assert said["type"].endswith("cursor_too_old") and said["errors"][0]["pointer"] == "/after"
    page = await mall.get("/v1/changes")
    assert page["full"] and [i["id"] for i in page["items"]] == [f"prd_{n}" for n in numbers]
    page = await mall.get("/v1/changes", after=page["next"])
    assert (page["full"], page["items"]) == (False, [])
