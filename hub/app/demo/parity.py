"""The demo's act about prices: a pack of another size is compared by the unit, and a breach is found, talked over with
the vendor and closed once the prices are level, all over the hub's own HTTP surface."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from hub.app.assortment import SHOP, story
from hub.app.demo.scene import Role, Scene, until
from hub.app.demo.story import Played, product_by_gtin

_PLACES = Decimal("0.0001")


async def act_parity(stage: Scene, mall: Role, played: Played) -> None:
    """Two products of the shop that the reference feed does not price."""
    played.kept["a_pack_is_compared_by_the_unit"] = await _pack(stage, mall)
    played.kept["a_breach_is_opened_told_and_closed"] = await _breach(stage, mall)


async def _pack(stage: Scene, mall: Role) -> bool:
    """Ours is 24 bottles; the market's price is for 12. Twice the amount for twice the bottles is level."""
    product = await product_by_gtin(mall, story.PACKED)
    ours = _offer(stage, product)
    half = (Decimal(ours["price"]["amount"]) / 2).quantize(_PLACES)
    await _observe(stage, product, half, minutes=3, pack="12×550 ml")
    judged = await until(lambda: _judged(mall, stage, story.PACKED), "the verdict on a pack")
    return bool(judged["parity"] == "pass" and Decimal(judged["parity_gap"]) == 0)


async def _breach(stage: Scene, mall: Role) -> bool:
    """Half as dear again as the market opens a case at once; two observations that are level close it."""
    staff = stage.staff
    product = await product_by_gtin(mall, story.NEGOTIATED)
    listing = _offer(stage, product)["listing_id"]
    dearest = max(Decimal(offer["price"]["amount"]) for offer in product["offers"])
    await _observe(stage, product, (dearest / Decimal("1.5")).quantize(_PLACES), minutes=3)

    async def case(status: str) -> Any:
        found = (await staff.get("/v1/parity/cases", listing_id=listing, status=status))["items"]
        return found[0] if found else None

    opened = await until(lambda: case("open"), "the case of a breach")
    note = {"note": "电话沟通, 请供应商核对价格", "version": opened["version"]}
    told = await staff.post(f"/v1/parity/cases/{opened['id']}/tell", note)
    for minutes in (2, 1):
        await _observe(stage, product, dearest, minutes=minutes)
        await until(lambda: _judged(mall, stage, story.NEGOTIATED, "pass"), "the verdict on a level price")
    closed = await until(lambda: case("closed"), "the end of the case")
    steps = [entry["what"] for entry in closed["log"]]
    return bool(told["stage"] == "told" and steps == ["opened", "told", "closed"] and len(closed["snapshots"]) == 3)


def _offer(stage: Scene, product: dict[str, Any]) -> dict[str, Any]:
    """The shop's offer of a product."""
    name = stage.vendors[SHOP].name
    offer: dict[str, Any] = next(offer for offer in product["offers"] if offer["vendor"] == name)
    return offer


async def _judged(mall: Role, stage: Scene, gtin: str, verdict: str | None = None) -> dict[str, Any] | None:
    """The shop's offer once it has a verdict (that one)."""
    offer = _offer(stage, await product_by_gtin(mall, gtin))
    return offer if offer["parity"] != "unknown" and verdict in (None, offer["parity"]) else None


async def _observe(
    stage: Scene, product: dict[str, Any], price: Decimal, *, minutes: int, pack: str | None = None
) -> None:
    """Staff records what a mainstream shop asked so many minutes ago."""
    evidence = {
        "source": "演示市场", "url": f"https://market.example/{product['id']}", "sha256": "0" * 64,
        "captured_at": (stage.now() - timedelta(minutes=minutes)).isoformat(), "parser": "by hand",
    }  # fmt: skip
    observed = {"product_id": product["id"], "price": str(price), "pack": pack, "evidence": evidence}
    await stage.staff.post("/v1/references", {"references": [observed]})
