"""What people decide about pairs of listings, and taking it back. A decision is about what the person saw: `seen` is
the fingerprint of the pair and both sides as they were shown, and anything that changed meanwhile (another's decision,
a side's words, its place, its being on sale) refuses it. Whoever decides second meets the first one's decision."""

from __future__ import annotations

from typing import Any, Literal

from catalog import matching, regrouping
from catalog.regrouping import Refused, Wanted, matching_words
from catalog.store import moves, pairs
from hub.kernel import audit
from hub.kernel.db import Tx
from hub.kernel.errors import Conflict, NotFound
from hub.kernel.types import public_id

Verdict = Literal["same", "different"]
_TOGETHER = ("same", "matched")


def seen(match: Any, left: Any, right: Any) -> str:
    """What somebody who looks at this pair sees, as 16 letters."""
    sides = [
        f"{matching_words(side).hex()} {side['product_id']} {side['active']} {side['price']}" for side in (left, right)
    ]
    return matching.fingerprint(str(match["version"]), *sides).hex()[:16]


async def decide(tx: Tx, match_id: int, verdict: Verdict, shown: str, who: str, why: str) -> None:
    """Carry out one person's word about a pair. Saying again what holds already changes nothing. Raises NotFound, and
    Conflict when the pair is not what was seen or the products cannot be put together."""
    match, left, right = await _held(tx, match_id)
    if match["status"] == verdict:
        return
    if seen(match, left, right) != shown:
        raise _changed(match)
    together = left["product_id"] == right["product_id"]
    entry: int | None = None
    if verdict == "same" and not together:
        entry = await _put_together(tx, match, left, right, who, why)
    elif verdict == "different" and together:
        if match["regrouping_id"] is not None:
            await regrouping.undo(tx, match["regrouping_id"], who, why, pair=match_id)
            left, right = await _sides(tx, match)
        if left["product_id"] == right["product_id"]:  # their keys agree, or more than this pair held them together
            entry = await regrouping.split(tx, right["product_id"], [right["id"]], who, why)
    await pairs.decide_match(tx, match_id, verdict, who, why, entry, by_hand=True)
    await _record(tx, who, "match.decide", match_id, {"verdict": verdict, "was": match["status"], "why": why})


async def undo(tx: Tx, match_id: int, shown: str, who: str, why: str) -> None:
    """Take back what was decided, by a person or by the matcher; the pair is open again, and stays with people."""
    match, left, right = await _held(tx, match_id)
    if match["status"] in ("open", "refused"):
        raise Conflict("nothing was decided about this pair", code="nothing_to_undo")
    if seen(match, left, right) != shown:
        raise _changed(match)
    if match["regrouping_id"] is not None and (
        match["status"] in _TOGETHER or left["product_id"] != right["product_id"]
    ):
        await regrouping.undo(tx, match["regrouping_id"], who, why, pair=match_id)
    await pairs.decide_match(tx, match_id, "open", who, why, None, by_hand=True)
    await _record(tx, who, "match.undo", match_id, {"was": match["status"], "why": why})


async def _put_together(tx: Tx, match: Any, left: Any, right: Any, who: str, why: str) -> int:
    for side in (left, right):
        if not side["active"]:
            raise Conflict(
                f"{side['vendor_name']} no longer sells {side['vendor_sku']}; there is nothing to put together",
                code="side_gone", facts={"listing": public_id("lst", side["id"])},
            )  # fmt: skip
    if match["status"] == "different":  # this word replaces that one
        await pairs.decide_match(tx, match["id"], "open", who, why, None, by_hand=True)
    kinds = await moves.product_kinds(tx, (left["product_id"], right["product_id"]))
    goes, stays = regrouping.survivor(kinds[left["product_id"]], kinds[right["product_id"]])
    wanted = Wanted(goes, stays, why, pin=(left["id"], right["id"]))
    (answer,) = await regrouping.put_together(tx, [wanted], "merge", who, by_hand=True)
    if isinstance(answer, Refused):
        raise answer.error()
    return answer


async def _held(tx: Tx, match_id: int) -> tuple[Any, Any, Any]:
    match = await pairs.lock_match(tx, match_id)
    if match is None:
        raise NotFound("there is no such pair", code="no_such_match")
    return match, *(await _sides(tx, match))


async def _sides(tx: Tx, match: Any) -> tuple[Any, Any]:
    said = {row["id"]: row for row in await pairs.listings_by_id(tx, (match["left_id"], match["right_id"]))}
    return said[match["left_id"]], said[match["right_id"]]


def _changed(match: Any) -> Conflict:
    words = f"; {match['decided_by']} said {match['status']}: {match['why']}" if match["decided_by"] else ""
    return Conflict(
        f"this pair is not what you saw any more{words}. Look at it again",
        code="pair_changed",
        facts={"status": match["status"], "decided_by": match["decided_by"], "version": match["version"]},
    )


async def _record(tx: Tx, who: str, action: str, match_id: int, facts: dict[str, Any]) -> None:
    await audit.record(tx, who, action, public_id("mat", match_id), facts)
