"""How much of a variant a Medusa shop can sell. A variant takes so many of one or several inventory items (a set, a
pack); each item lies at locations, of which only those of the sales channel can be ordered from, and an order takes an
item from one location whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from connectors.medusa.talking import objects

FIELDS = (
    "id,sku,manage_inventory,allow_backorder,"
    "inventory_items.inventory_item_id,inventory_items.required_quantity,inventory_items.inventory.id,"
    "inventory_items.inventory.variants.id,inventory_items.inventory.location_levels.location_id,"
    "inventory_items.inventory.location_levels.stocked_quantity,"
    "inventory_items.inventory.location_levels.reserved_quantity"
)


def sku_of(variant: Mapping[str, Any]) -> str:
    """The shop's SKU, or `#id` for a variant that has none or one that looks like such an id."""
    sku = variant.get("sku")
    sku = sku.strip() if isinstance(sku, str) else ""
    return sku if sku and not sku.startswith("#") else f"#{variant.get('id')}"


def counted(variant: Mapping[str, Any]) -> bool:
    """Whether the shop counts this variant; one that it does not count can always be ordered."""
    return variant.get("manage_inventory") is not False


def shared(variant: Mapping[str, Any]) -> bool:
    """Whether other variants sell the same items: their counts would be the same pieces once more."""
    return any(len(objects(item.get("variants"))) > 1 for _, _, item in _items(variant))


def at_locations(variant: Mapping[str, Any], locations: frozenset[str] | None) -> dict[str, int]:
    """Location -> how many of the variant can be had there: as many as its scarcest item allows. Raises ValueError for
    a count that is none."""
    found: dict[str, int] | None = None
    for _, needed, item in _items(variant):
        free = {
            str(level.get("location_id")): max(0, _free(level)) // needed
            for level in objects(item.get("location_levels"))
            if locations is None or str(level.get("location_id")) in locations
        }
        found = free if found is None else {at: min(found[at], free[at]) for at in found.keys() & free.keys()}
    return dict(sorted((found or {}).items()))


def items_of(variant: Mapping[str, Any]) -> dict[str, int]:
    """Inventory item -> how many of it one piece of the variant takes."""
    return {item_id: needed for item_id, needed, _ in _items(variant)}


def free_items(variant: Mapping[str, Any], locations: frozenset[str] | None) -> dict[str, int]:
    """Inventory item -> how many of it can be had at all locations together."""
    return {
        item_id: sum(
            max(0, _free(level))
            for level in objects(item.get("location_levels"))
            if locations is None or str(level.get("location_id")) in locations
        )
        for item_id, _, item in _items(variant)
    }


def stocked(variant: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """(inventory item, location) -> how many lie there, reserved ones too."""
    return {
        (item_id, str(level.get("location_id"))): whole(level.get("stocked_quantity"))
        for item_id, _, item in _items(variant)
        for level in objects(item.get("location_levels"))
    }


def whole(value: Any) -> int:
    """A count, rounded down; raises ValueError when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{str(value)[:40]!r} is no count")
    return int(value // 1)


def _free(level: Mapping[str, Any]) -> int:
    return whole(level.get("stocked_quantity")) - whole(level.get("reserved_quantity") or 0)


def _items(variant: Mapping[str, Any]) -> list[tuple[str, int, dict[str, Any]]]:
    found = []
    for link in objects(variant.get("inventory_items")):
        item = link.get("inventory")
        if isinstance(item, dict):
            needed = link.get("required_quantity")
            if needed is not None and whole(needed) < 1:
                raise ValueError(f"{str(needed)[:40]!r} pieces of an item are no set")
            found.append((str(link.get("inventory_item_id")), whole(needed) if needed is not None else 1, item))
    return found
