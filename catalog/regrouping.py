"""Products put together and taken apart: by the matcher, by a person's decision about a pair, or by hand. Everything is
history that can be undone: listings move, and nothing else. A product that was emptied keeps its row and its keys, and
its id leads to where its listings went; orders name listings and never notice.

Locks are taken in the order of the house: listings, then products. Nothing moves while one vendor would have two SKUs
on one product, or where somebody has said that two things are different."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from catalog import changes, matching, prices, store
from catalog.segment import search_tokens
from catalog.store import moves, pairs
from hub.kernel import audit
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, NotFound, Rejected
from hub.kernel.types import public_id

MATCHER = "matcher"  # the actor of what no person decided
Kind = Literal["match", "merge"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """All listings of product `from_id` shall be on product `into_id`."""

    from_id: int
    into_id: int
    why: str
    pin: tuple[int, ...] = ()  # listings that shall stay there whatever their keys say, beside those that move by hand


@dataclass(frozen=True, slots=True)
class Refused:
    """Why two products were not put together: a code, a sentence, and facts."""

    code: str
    detail: str
    facts: dict[str, Any]

    def error(self) -> Conflict:
        return Conflict(self.detail, code=self.code, facts=self.facts)


def survivor(one: Any, other: Any) -> tuple[int, int]:
    """(what goes, what stays) of two products: the one with a GTIN stays, then the older."""
    goes, stays = sorted((one, other), key=lambda p: (p["gtin"] is not None, -p["id"]))
    return goes["id"], stays["id"]


async def put_together(
    tx: Tx, wanted: Sequence[Wanted], kind: Kind, actor: str, *, by_hand: bool
) -> list[int | Refused]:
    """Carry out what can be carried out; for each wish the id of its entry in the history, or why not. A product takes
    part in one wish of a call as the one that goes, and in none after it went."""
    ids = {i for w in wanted for i in (w.from_id, w.into_id)}
    members: dict[int, list[Any]] = {product_id: [] for product_id in ids}
    for row in await moves.lock_listings_of(tx, ids):
        members[row["product_id"]].append(row)
    await store.lock_products(tx, sorted(ids))
    leads = await moves.redirects_from(tx, ids)
    kinds = await moves.product_kinds(tx, ids)
    told: dict[frozenset[int], int] = {
        frozenset((row["one"], row["other"])): row["id"]
        for row in await pairs.told_of_in(tx, ids)
        if row["status"] == "different" or (row["by_hand"] and not by_hand)
    }
    answers: list[int | Refused] = []
    touched: set[int] = set()
    for w in wanted:
        refused = _refused(w, members, leads, kinds, told)
        if refused is not None:
            answers.append(refused)
            continue
        moving = members.pop(w.from_id)
        members[w.into_id] = [*members[w.into_id], *moving]
        for one in list(told):  # what was said of the product that went holds for where it went
            if w.from_id in one:
                told[one - {w.from_id} | {w.into_id}] = told.pop(one)
        staying = [row for row in members[w.into_id] if row["id"] in w.pin and row not in moving]
        pinned = [row["id"] for row in (*moving, *staying) if by_hand and not row["by_hand"]]
        await moves.move_listings(
            tx, [(row["id"], w.into_id, row["by_hand"] or by_hand) for row in (*moving, *staying)]
        )
        older = await moves.lead_on(tx, w.from_id, w.into_id)
        leads[w.from_id] = w.into_id
        entry = {
            "kind": kind, "from_id": w.from_id, "into_id": w.into_id, "listing_ids": [row["id"] for row in moving],
            "pinned_ids": pinned, "redirected": older, "actor": actor, "why": w.why,
        }  # fmt: skip
        answers.append(await moves.add_regrouping(tx, entry))
        touched |= {w.from_id, w.into_id}
    await _bring_up_to_date(tx, touched)
    return answers


def _refused(
    w: Wanted, members: dict[int, list[Any]], leads: dict[int, int], kinds: dict[int, Any],
    told: dict[frozenset[int], int],
) -> Refused | None:  # fmt: skip
    names = {"from": public_id("prd", w.from_id), "into": public_id("prd", w.into_id)}
    if w.from_id == w.into_id:
        return Refused("same_product", "these are one product already", names)
    for product_id in (w.from_id, w.into_id):
        if product_id not in kinds:
            return Refused("no_such_product", f"there is no product {public_id('prd', product_id)}", names)
        if product_id in leads or product_id not in members:
            where = public_id("prd", leads.get(product_id, product_id))
            return Refused("moved", f"{public_id('prd', product_id)} went into {where}", {**names, "now": where})
    one, other = kinds[w.from_id], kinds[w.into_id]
    if (one["kind"], one["mode"]) != (other["kind"], other["mode"]):
        return Refused("other_kind", "the two are not sold in the same way; they cannot be one product", names)
    if one["mode"] == "appointment" and one["city"] != other["city"]:
        return Refused("other_city", "services in two cities cannot be one product", names)
    pair = told.get(frozenset((w.from_id, w.into_id)))
    if pair is not None:
        return Refused(
            "told_apart",
            f"somebody decided about a pair of them (match {pair}); change that decision first",
            {**names, "match": pair},
        )
    for ours in members[w.from_id]:
        for theirs in members[w.into_id]:
            if _two_of_one_vendor(ours, theirs):
                return Refused(
                    "one_vendor",
                    f"{ours['vendor_name']} sells them as {ours['vendor_sku']} and {theirs['vendor_sku']}; one "
                    "vendor's SKUs are one product only with the same GTIN",
                    {**names, "skus": [ours["vendor_sku"], theirs["vendor_sku"]]},
                )
    return None


def _two_of_one_vendor(ours: Any, theirs: Any) -> bool:
    if ours["vendor_id"] != theirs["vendor_id"] or ours["vendor_sku"] == theirs["vendor_sku"]:
        return False
    same = ours["gtin"] is not None and ours["gtin"] == theirs["gtin"]
    return bool(ours["active"] and theirs["active"] and not same)


async def split(tx: Tx, product_id: int, listing_ids: Sequence[int], actor: str, why: str) -> int:
    """Take listings of a product onto a new one; returns the entry of the history. They are told apart from what stays,
    so that nothing brings them back but a person."""
    members = await moves.lock_listings_of(tx, (product_id,))
    await store.lock_products(tx, (product_id,))
    if product_id not in await moves.product_kinds(tx, (product_id,)):
        raise NotFound("there is no such product", code="no_such_product")
    leaving = [row for row in members if row["id"] in set(listing_ids)]
    staying = [row for row in members if row["id"] not in set(listing_ids)]
    if len(leaving) < len(set(listing_ids)):
        strange = sorted(set(listing_ids) - {row["id"] for row in leaving})
        raise Conflict(
            f"{', '.join(public_id('lst', i) for i in strange)} is not on this product (any more); look at it again",
            code="not_on_it",
        )
    if not staying:
        raise Rejected("that would leave nothing on the product; name some of its listings only", code="all_of_it")
    said = {row["id"]: row for row in await pairs.listings_by_id(tx, [row["id"] for row in members])}
    first = said[leaving[0]["id"]]
    new_id = await moves.make_product(tx, first["id"], _tokens(first))
    await moves.move_listings(tx, [(row["id"], new_id, True) for row in leaving])
    entry = {
        "kind": "split", "from_id": product_id, "into_id": new_id, "listing_ids": [row["id"] for row in leaving],
        "pinned_ids": [row["id"] for row in leaving if not row["by_hand"]], "redirected": [], "actor": actor,
        "why": why,
    }  # fmt: skip
    regrouping_id = await moves.add_regrouping(tx, entry)
    rows = []
    for ours in leaving:
        for theirs in staying:
            left, right = sorted((ours["id"], theirs["id"]))
            words = matching_words(said[left]), matching_words(said[right])
            rows.append((left, right, "refused", 0, NO_REASONS, *words, regrouping_id))
    await pairs.put_matches(tx, rows)
    for match_id in await pairs.matches_of_regrouping(tx, regrouping_id):
        await pairs.decide_match(tx, match_id, "different", actor, why, regrouping_id, by_hand=True)
    await _bring_up_to_date(tx, {product_id, new_id})
    facts = {"listings": [public_id("lst", row["id"]) for row in leaving], "into": public_id("prd", new_id), "why": why}
    await audit.record(tx, actor, "product.split", public_id("prd", product_id), facts)
    return regrouping_id


async def undo(tx: Tx, regrouping_id: int, actor: str, why: str, *, pair: int | None = None) -> None:
    """Take one entry of the history back: what moved and is still there returns, and with it what came since by the
    keys that moved. Pairs that stood for it are open again, for people (`pair` is left to the caller). Raises
    NotFound, and Conflict when it was undone before."""
    entry = await moves.lock_regrouping(tx, regrouping_id)
    if entry is None:
        raise NotFound("there is no such entry in the history", code="no_such_regrouping")
    if entry["undone_at"] is not None:
        raise Conflict(
            f"{entry['undone_by']} took this back before: {entry['undone_why']}", code="already_undone",
            facts={"undone_by": entry["undone_by"], "undone_at": entry["undone_at"].isoformat()},
        )  # fmt: skip
    apart, together = entry["from_id"], entry["into_id"]
    leads = await moves.redirects_from(tx, (apart, together))
    if entry["kind"] == "split":  # what was taken off goes back onto what it was taken off
        apart, together = leads.get(apart, apart), leads.get(together, together)
        here, back = together, apart
    else:
        here, back = leads.get(together, together), apart
    if here == back:
        await moves.close_regrouping(tx, regrouping_id, actor, why)
        return
    members = await moves.lock_listings_of(tx, (here, back))
    await store.lock_products(tx, sorted((here, back)))
    keys = await moves.product_kinds(tx, (back, here))
    moved = set(entry["listing_ids"])
    returning = [row for row in members if row["product_id"] == here and row["id"] in moved]
    if entry["kind"] != "split":
        returning += [
            row
            for row in members
            if row["product_id"] == here and row["id"] not in moved and _came_by(row, keys[back], keys[here])
        ]
    pinned = set(entry["pinned_ids"])
    freed = [row for row in members if row["id"] in pinned and row not in returning]
    await moves.move_listings(
        tx,
        [
            *((row["id"], back, row["by_hand"] and row["id"] not in pinned) for row in returning),
            *((row["id"], row["product_id"], False) for row in freed),
        ],
    )
    if entry["kind"] == "split":
        if all(row["id"] in moved for row in members if row["product_id"] == here):
            await moves.lead_on(tx, here, back)
        for match_id in await pairs.matches_of_regrouping(tx, regrouping_id):
            if match_id != pair:
                await pairs.decide_match(tx, match_id, "same", actor, why, None, by_hand=True)
    else:
        await moves.lead_back(tx, back, here, entry["redirected"])
        standing = [m for m in await pairs.matches_of_regrouping(tx, regrouping_id) if m != pair]
        if not standing and pair is None:
            standing = await _leave_to_people(tx, returning, [r for r in members if r not in returning])
        for match_id in standing:
            await pairs.decide_match(tx, match_id, "open", actor, why, None, by_hand=True)
    await moves.close_regrouping(tx, regrouping_id, actor, why)
    await _bring_up_to_date(tx, {here, back})
    facts = {"entry": regrouping_id, "listings": [public_id("lst", row["id"]) for row in returning], "why": why}
    await audit.record(tx, actor, "product.undo", public_id("prd", back), facts)


def _came_by(row: Any, ours: Any, theirs: Any) -> bool:
    """Whether a listing came to a product by the keys of the one that is leaving it."""
    if row["by_hand"]:
        return False
    if row["gtin"] is not None and ours["gtin"] is not None:
        return bool(row["gtin"] == ours["gtin"])
    key = matching.brand_model_key(row["brand"], row["model"])
    return key is not None and key == ours["brand_model"] and key != theirs["brand_model"]


async def _leave_to_people(tx: Tx, ours: Sequence[Any], theirs: Sequence[Any]) -> list[int]:
    """A pair for what was put together by hand and taken apart again, so that the matcher keeps out of it."""
    if not ours or not theirs:
        return []
    left, right = sorted((ours[0]["id"], theirs[0]["id"]))
    said = {row["id"]: row for row in await pairs.listings_by_id(tx, (left, right))}
    words = matching_words(said[left]), matching_words(said[right])
    made = await pairs.put_matches(tx, [(left, right, "open", 0, NO_REASONS, *words, None)])
    return [row["id"] for row in made]


async def mend_stragglers(tx: Tx, listing_ids: Sequence[int]) -> int:
    """A pull that was matching rows while their product went elsewhere has written them to the old one: send them
    after it."""
    rows = await moves.stragglers(tx, listing_ids)
    if rows:
        touched = {row["product_id"] for row in rows} | {row["new_id"] for row in rows}
        await store.lock_products(tx, sorted(touched))
        await moves.move_listings(tx, [(row["id"], row["new_id"], False) for row in rows])
        await _bring_up_to_date(tx, touched)
    return len(rows)


async def _bring_up_to_date(tx: Tx, product_ids: Iterable[int]) -> None:
    """Words, prices, verdicts and the feed of changes follow the listings."""
    touched = sorted(set(product_ids))
    if not touched:
        return
    first = await moves.first_listings(tx, touched)
    await moves.follow_listings(tx, [(row["product_id"], row["id"], _tokens(row)) for row in first])
    await store.refresh_products(tx, touched)
    await changes.note(tx, touched)
    await prices.check_products(tx, touched)


def _tokens(row: Any) -> str:
    return search_tokens(row["title"], row["title_en"], row["brand"], row["model"], row["category"], row["pack"])


NO_REASONS: dict[str, Any] = {"agreeing": [], "conflicts": [], "doubts": []}


def matching_words(row: Any) -> bytes:
    """The fingerprint of what matching reads of a listing."""
    return matching.fingerprint(
        row["title"], row["title_en"], row["brand"], row["model"], row["gtin"], row["pack"], row["category"],
        row["description"],
    )  # fmt: skip
