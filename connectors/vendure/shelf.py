"""How much of a variant Vendure can sell: what lies at its stock locations less what is allocated to orders, less what
the shop keeps back (`outOfStockThreshold`). A threshold below nothing means that the shop takes back-orders; they are
never sold as stock. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rules:
    """The server's own settings, for variants that inherit them."""

    tracks: bool
    threshold: int


def rules_of(settings: Any) -> Rules:
    """The rules in `globalSettings`."""
    said = settings if isinstance(settings, Mapping) else {}
    return Rules(said.get("trackInventory") is not False, _whole(said.get("outOfStockThreshold")))


def counted(variant: Mapping[str, Any], rules: Rules) -> bool:
    """Whether the shop counts this variant; one that it does not count can always be ordered."""
    tracks = variant.get("trackInventory")
    return rules.tracks if tracks not in ("TRUE", "FALSE") else tracks == "TRUE"


def kept_back(variant: Mapping[str, Any], rules: Rules) -> int:
    """How many the shop does not sell."""
    own = variant.get("useGlobalOutOfStockThreshold") is False
    return max(0, _whole(variant.get("outOfStockThreshold")) if own else rules.threshold)


def available(variant: Mapping[str, Any], rules: Rules) -> int:
    """How many can be ordered, all locations together; below nothing when more were sold than there are. The shop
    takes the threshold off the sum when it takes an order, and off each location when it looks where to take the goods
    from; whichever leaves less is what can really be had."""
    levels, kept = _levels(variant), kept_back(variant, rules)
    return min(sum(free for _, free in levels) - kept, sum(max(0, free - kept) for _, free in levels))


def at_locations(variant: Mapping[str, Any], rules: Rules) -> list[tuple[str, int]]:
    """How many can be ordered at each location. What other locations lack is taken off the first ones, so that the
    figures add up to no more than can be ordered."""
    levels, kept = _levels(variant), kept_back(variant, rules)
    owed = -sum(free for _, free in levels if free < 0)
    found = []
    for location, free in levels:
        sellable = max(0, free - kept)
        taken = min(owed, sellable)
        owed -= taken
        found.append((location, sellable - taken))
    return found


def _levels(variant: Mapping[str, Any]) -> list[tuple[str, int]]:
    levels = variant.get("stockLevels")
    found = [
        (str(level.get("stockLocationId")), _whole(level.get("stockOnHand")) - _whole(level.get("stockAllocated")))
        for level in (levels if isinstance(levels, list) else ())
        if isinstance(level, Mapping)
    ]
    return sorted(found, key=lambda level: (len(level[0]), level[0]))


def _whole(value: Any) -> int:
    if type(value) is not int:
        if value is None:
            return 0
        raise ValueError(f"{str(value)[:40]!r} is no count")
    return value
