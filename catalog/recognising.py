"""The step after ingest: listings that came without a key anybody knew are held against the catalogue by what they say.

Its queue of record is a table that the event of a written batch fills, so a pull never waits for it. Any number of
workers take listings from the queue, each for a while only: what a worker that died has taken comes back by itself.
What comes into question is found in the database by the rarest words (the index of the search), and compared by
catalog.matching; nothing of the catalogue is kept in memory but how rare words are, learned from a sample.

Only goods are compared: two clinics that call a check-up by the same name still sell two things. Nothing is decided for
a person: what somebody said of a pair stands, whatever the words say later."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from catalog import matching, regrouping
from catalog.blocking import words as words_of
from catalog.contracts import ListingsChanged
from catalog.matching import Index, Offer, Proposal, Weights
from catalog.rarity import rarity
from catalog.regrouping import MATCHER, NO_REASONS, Refused, Wanted, matching_words
from catalog.store import pairs
from hub.kernel import db, tasks
from hub.kernel.db import HUB, Tx, uow
from hub.kernel.errors import HubError, Retry

log = structlog.get_logger()
BATCH = 250  # listings taken at once: half a second's work
TURN = 2_500  # listings after which a worker may stop
LEASE = timedelta(minutes=5)  # after which what a worker has taken is due again
TRIES = 4  # of a listing whose comparison fails; it is then taken alone
MERGES = 25  # products put together in one transaction
SAMPLE = 20_000  # products from which it is learned how rare words are
RELEARN_S = 900.0
FALSE_FRIEND = 0.5  # cosine from which a contradiction is worth telling


async def on_listings_to_match(tx: Tx, event: ListingsChanged) -> None:
    """A batch was written: its listings are to be looked at."""
    if event.listing_ids:
        await pairs.queue_listings(tx, event.listing_ids)
        tx.wake(tasks.MATCH)


async def match_due(limit: int = TURN) -> int:
    """Look at listings that are due, about `limit` of them and the rest in another turn; returns how many."""
    done = 0
    while done < limit:
        async with uow(HUB) as tx:
            until = tx.now + LEASE
            claimed = await pairs.claim_listings(tx, until, BATCH)
        if not claimed:
            break
        fresh = [row for row in claimed if row["tries"] <= 1]
        for batch in [fresh, *([row] for row in claimed if row["tries"] > 1)]:
            if batch:
                await _look(batch, until)
        done += len(claimed)
    if done >= limit:
        tasks.wake(tasks.MATCH)
    return done


async def _look(claimed: Sequence[Any], until: Any) -> None:
    try:
        words = await _match(claimed)
    except HubError as error:
        log.warning("matching_waits", listings=len(claimed), error=str(error))
        after = error.after if isinstance(error, Retry) else 60.0
        with contextlib.suppress(HubError):  # then they are due again when the lease is over
            async with uow(HUB) as tx:
                await pairs.release_listings(tx, until, [row["listing_id"] for row in claimed], max(1.0, after))
        return
    except Exception:
        log.exception("matching_failed", listings=[row["listing_id"] for row in claimed][:20])
        words = {row["listing_id"]: None for row in claimed if row["tries"] >= TRIES}  # given up until it changes
    if words:
        async with uow(HUB) as tx:
            await pairs.settle_listings(tx, until, words)


async def _match(claimed: Sequence[Any]) -> dict[int, bytes | None]:
    """Compare these listings; returns what each says now."""
    known = {row["listing_id"]: row["words"] for row in claimed}
    async with uow(HUB) as tx:
        await regrouping.mend_stragglers(tx, sorted(known))
        await pairs.tidy_words(tx)
        said = {row["id"]: row for row in await pairs.listings_by_id(tx, known)}
    words: dict[int, bytes | None] = dict.fromkeys(known)
    words |= {listing_id: matching_words(row) for listing_id, row in said.items()}
    news = [row for i, row in said.items() if row["active"] and row["kind"] == "goods" and words[i] != known[i]]
    if not news:
        return words
    knowledge = await _knowledge()
    again = [row["id"] for row in news if known[row["id"]] is not None]
    if again:
        await _hold_to_their_word(again, knowledge)
    ids = {row["product_id"] for row in news}
    subjects = [row for row in await pairs.products_as_offered(ids) if not set(row["listing_ids"]).isdisjoint(known)]
    subjects = [row for row in subjects if _speaks_for(row, known)]
    if subjects:
        await _compare(subjects, knowledge)
    return words


def _speaks_for(product: Any, known: Mapping[int, Any]) -> bool:
    """A listing that joined others by a key is no news about the product."""
    first = product["listing_ids"][0]
    return first in known


async def _compare(subjects: Sequence[Any], knowledge: _Knowledge) -> None:
    rare = await rarity()
    asked = [(row["id"], row["mode"], *word) for row in subjects for word in words_of(row, rare)]
    found: dict[int, set[int]] = {}
    for product_id, candidate in await pairs.products_by_words(asked, max(rare.products, 1000.0)):
        found.setdefault(product_id, set()).add(candidate)
    others = {row["id"]: row for row in await pairs.products_as_offered({c for cs in found.values() for c in cs})}
    mine = {row["id"]: row for row in subjects}
    told = await pairs.told_of(mine)
    apart = frozenset(
        (str(a), str(b))
        for row in told
        if row["status"] == "different"
        for a, b in ((row["one"], row["other"]), (row["other"], row["one"]))
    )
    asking = [as_offer(row) for row in subjects if row["id"] in found]
    products = [as_offer(row) for row in others.values()]
    if not asking or not products:
        return
    proposals = await asyncio.to_thread(_propose, asking, products, knowledge, apart)
    sides = {**others, **mine}
    await _carry_out([(p, sides[int(p.listing)], sides[int(p.nearest)]) for p in proposals if p.nearest is not None])


def _propose(
    asking: Sequence[Offer], products: Sequence[Offer], knowledge: _Knowledge, apart: frozenset[tuple[str, str]]
) -> list[Proposal]:
    index = Index(products, knowledge.weights, knowledge.categories)
    return index.propose(asking, apart)


Found = tuple[Proposal, Any, Any]  # the answer, the product that asked, the product that looked most like it


async def _carry_out(found: Sequence[Found]) -> None:
    certain = [each for each in found if each[0].decision == "match"]
    rest = [each for each in found if each[0].decision == "review" or _is_false_friend(each[0])]
    for start in range(0, len(certain), MERGES):
        await _join(certain[start : start + MERGES])
    if rest:
        async with uow(HUB) as tx:
            said = await _first_listings(tx, rest)
            kept = [e for e in rest if {e[1]["listing_ids"][0], e[2]["listing_ids"][0]} <= said.keys()]
            await pairs.put_matches(
                tx, [_pair(*e, said, "open" if e[0].decision == "review" else "refused", None) for e in kept]
            )


def _is_false_friend(proposal: Proposal) -> bool:
    return proposal.decision == "new" and bool(proposal.conflicts) and proposal.alike >= FALSE_FRIEND


async def _join(certain: Sequence[Found]) -> None:
    """Put products together. Where the world has changed since they were compared, nothing happens: whoever changed it
    has put the listings into the queue."""
    async with uow(HUB) as tx:
        said = await _first_listings(tx, certain)
        wanted, meant = [], []
        for proposal, one, other in certain:
            firsts = [said.get(side["listing_ids"][0]) for side in (one, other)]
            if any(
                row is None or row["product_id"] != side["id"] for row, side in zip(firsts, (one, other), strict=True)
            ):
                continue
            goes, stays = regrouping.survivor(one, other)
            wanted.append(Wanted(goes, stays, _why(proposal)))
            meant.append((proposal, one, other))
        answers = await regrouping.put_together(tx, wanted, "match", MATCHER, by_hand=False)
        rows = []
        for each, answer in zip(meant, answers, strict=True):
            if not isinstance(answer, Refused):
                rows.append(_pair(*each, said, "matched", answer))
            elif answer.code == "one_vendor":  # two of its listings wanted the same; a person looks
                proposal, one, other = each
                rows.append(_pair(proposal, one, other, said, "open", None, "vendor"))
        await pairs.put_matches(tx, rows)


async def _first_listings(tx: Tx, found: Iterable[Found]) -> dict[int, Any]:
    """What the listings that stand for the products say at this moment."""
    ids = {side["listing_ids"][0] for _, one, other in found for side in (one, other)}
    return {row["id"]: row for row in await pairs.listings_by_id(tx, ids)}


def _pair(
    proposal: Proposal, one: Any, other: Any, said: Mapping[int, Any], status: str, entry: int | None, doubt: str = ""
) -> tuple[Any, ...]:
    """A row of catalog_matches: the two listings in order, what speaks for and against turned the same way."""
    left, right = one["listing_ids"][0], other["listing_ids"][0]
    turned = left > right
    if turned:
        left, right = right, left
    reasons = {
        "agreeing": [_turn(d, turned) for d in proposal.agreeing],
        "conflicts": [_turn(d, turned) for d in proposal.conflicts],
        "doubts": [*proposal.doubts, *([doubt] if doubt else [])],
    }
    words = matching_words(said[left]), matching_words(said[right])
    return left, right, status, round(proposal.score, 4), reasons, *words, entry


def _turn(said: matching.Difference, turned: bool) -> list[str]:
    return [said.field, said.right, said.left] if turned else [said.field, said.left, said.right]


def _why(proposal: Proposal) -> str:
    same = ", ".join(f"{d.field} {d.left}" for d in proposal.agreeing[:4]) or "the words of both"
    return f"score {proposal.score:.2f}: {same}"[:500]


async def _hold_to_their_word(listing_ids: Sequence[int], knowledge: _Knowledge) -> None:
    """Listings that say something else than when they were put together: what the matcher had joined and now
    contradicts itself is taken apart; what a person had joined is asked about again."""
    async with uow(HUB) as tx:
        standing = await pairs.joined_pairs(tx, listing_ids)
        ids = {i for row in standing for i in (row["left_id"], row["right_id"])}
        said = {row["id"]: row for row in await pairs.listings_by_id(tx, ids)}
        for row in standing:
            left, right = said[row["left_id"]], said[row["right_id"]]
            words = matching_words(left), matching_words(right)
            if words == (row["left_words"], row["right_words"]) or left["product_id"] != right["product_id"]:
                continue
            conflicts = _contradictions(left, right, knowledge)
            if not conflicts:
                continue
            reasons = {**NO_REASONS, "conflicts": conflicts, "doubts": ["changed"]}
            status = "open"
            if row["status"] == "matched" and row["regrouping_id"] is not None:
                why = f"it says something else now: {conflicts[0][0]} {conflicts[0][1]} / {conflicts[0][2]}"
                await regrouping.undo(tx, row["regrouping_id"], MATCHER, why, pair=row["id"])
                status = "refused"
            await pairs.rejudge_match(tx, row["id"], status, reasons, *words)


def _contradictions(left: Any, right: Any, knowledge: _Knowledge) -> list[list[str]]:
    """On what two listings contradict each other."""
    found = Index([_offer_of_listing(right)], knowledge.weights, knowledge.categories).propose(
        [_offer_of_listing(left)]
    )
    return [list(d) for d in found[0].conflicts]


def _offer_of_listing(row: Any) -> Offer:
    return Offer(
        id=str(row["id"]), title=row["title"], other_titles=(row["title_en"],) if row["title_en"] else (),
        brand=row["brand"], gtin=row["gtin"], mpn=row["model"], pack=row["pack"], category=row["category"],
        description=row["description"],
    )  # fmt: skip


def as_offer(row: Any) -> Offer:
    """A product as the matcher reads it: in its own words and those of its listings, of all its vendors."""
    titles = dict.fromkeys(t for t in (row["title_en"], *row["titles"]) if t and t != row["title"])
    return Offer(
        id=str(row["id"]), title=row["title"], other_titles=tuple(titles), brand=row["brand"], gtin=row["gtin"],
        mpn=row["model"], pack=row["pack"], category=row["category"], description=row["description"],
        price=row["price"], currency=row["currency"], vendors=frozenset(map(str, row["vendors"])),
    )  # fmt: skip


@dataclass(frozen=True)
class _Knowledge:
    """How rare words are, and which categories several vendors use, as a sample of the catalogue says."""

    weights: Weights
    categories: frozenset[str]
    database: db.Database
    at: float
    products: int


_known: _Knowledge | None = None


async def _knowledge() -> _Knowledge:
    """What this process has learned; again when it is old, or when the catalogue was a fraction of what it is."""
    global _known
    size = (await rarity()).products
    if (
        _known is None
        or _known.database is not db.database()
        or time.monotonic() - _known.at > (RELEARN_S if _known.products > 2000 else 5.0)
        or size > 4 * max(_known.products, 1000) > 4 * SAMPLE
    ):
        rows = await pairs.sample_of_products(SAMPLE)
        _known = await asyncio.to_thread(_learn, rows, db.database())
    return _known


def _learn(rows: Sequence[Any], database: db.Database) -> _Knowledge:
    used: dict[str, set[int]] = {}
    readings = []
    for row in rows:
        titles = (row["title_en"],) if row["title_en"] else ()
        readings += matching.read_all(Offer("", row["title"], other_titles=titles, brand=row["brand"]))
        if row["category"]:
            used.setdefault(row["category"].strip().casefold(), set()).update(row["vendors"] or ())
    shared = frozenset(category for category, vendors in used.items() if len(vendors) > 1)
    return _Knowledge(Weights([matching.raw(readings)]), shared, database, time.monotonic(), len(rows))
