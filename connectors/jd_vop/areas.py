"""Addresses: our orders say province, city and district in words, JD wants its own ids, up to four levels deep.

Names are followed level by level through JD's tree, since JD says of its own address reader that it neither finds
everything nor is always right. The reader is asked only where a level cannot be told by name (a street office that the
address does not mention), and believed only when its answer agrees with every name that we were given."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import NamedTuple

from connectors.calling import Refused
from connectors.contracts import ShipTo
from connectors.jd_vop.vop import SpeaksVop, number
from hub.kernel.errors import Broken, NotFound

_KEEP_S = 86_400.0
_ENDING = re.compile(
    r"(特别行政区|壮族自治区|回族自治区|维吾尔自治区|自治区|自治州|自治县|地区|省|市|区|县|盟|旗|街道|镇|乡)$"
)
_LEVELS = ("getProvince", "getCity", "getCounty", "getTown")

# (address of the API, level, id of the area above) -> until when, and the names below it.
_tree: dict[tuple[str, int, int], tuple[float, dict[str, int]]] = {}


class Area(NamedTuple):
    """JD's ids of an address; town 0 where the area above has no fourth level."""

    province: int
    city: int
    county: int
    town: int = 0

    @property
    def text(self) -> str:
        return "_".join(map(str, self))


class KnowsAreas(SpeaksVop):
    """From a consignee's address to JD's area."""

    async def area_of(self, to: ShipTo) -> Area | str:
        """The area of an address, or why there is none."""
        if to.country != "CN":
            return f"JD delivers within China, not to {to.country[:40]}"
        found = await self._by_names(to)
        return found if found is not None else await self._by_text(to)

    def forget_areas(self) -> None:
        """JD's tree changed: ask for it again."""
        for key in [key for key in _tree if key[0] == self.call.base_url]:
            del _tree[key]

    async def below(self, level: int, parent: int = 0) -> dict[str, int]:
        """The areas of a level (0 provinces … 3 towns) below `parent`: name -> id."""
        key = (self.call.base_url, level, parent)
        kept = _tree.get(key)
        if kept is not None and time.monotonic() < kept[0]:
            return kept[1]
        form = {"id": parent} if level else None
        try:
            result = (await self.read(f"api/area/{_LEVELS[level]}", form)).result
        except (NotFound, Refused):
            if level < 3:
                raise
            result = None  # an area without towns
        if not isinstance(result, dict | None):
            raise Broken(f"jd_vop: {_LEVELS[level]} is not a map of names", code="bad_shape")
        names = {str(name): area for name, raw in (result or {}).items() if (area := number(raw))}
        _tree[key] = (time.monotonic() + _KEEP_S, names)
        return names

    async def _by_names(self, to: ShipTo) -> Area | None:
        province = _match(to.province or to.city, await self.below(0))
        if province is None:
            return None
        left = [name for name in (to.city, to.district) if name and _short(name) != _short(to.province or to.city)]
        ids = [province]
        for level in (1, 2, 3):
            names = await self.below(level, ids[-1])
            if not names and level == 3:
                ids.append(0)
                break
            found = _match(left[0], names) if left else _mentioned(to.address, names)
            if found is None:
                return None
            del left[:1]
            ids.append(found)
        return None if left else Area(*ids)

    async def _by_text(self, to: ShipTo) -> Area | str:
        given = [name for name in dict.fromkeys((to.province, to.city, to.district)) if name]
        where = " ".join(given)[:120] or "an address without province and city"
        try:
            said = await self.read("api/area/getJDAddressFromAddress", {"address": "".join(given) + to.address})
        except (NotFound, Refused) as error:
            return f"JD knows no area for {where}: {error}"[:300]
        result = said.result
        if not isinstance(result, dict):
            return f"JD knows no area for {where}"
        ids = [number(result.get(name)) for name in ("provinceId", "cityId", "countyId")]
        if not all(ids):
            return f"JD knows no area for {where}"
        told = {_short(str(result.get(name) or "")) for name in ("province", "city", "county", "town")}
        strange = [name for name in given if _short(name) not in told]
        if strange or not given:
            answer = " ".join(str(result.get(name) or "") for name in ("province", "city", "county")).strip()
            return f"JD takes {where} for {answer[:120]}, where there is no {', '.join(strange) or 'name to compare'}"
        town = number(result.get("townId")) or 0
        county = ids[2] or 0
        if not town:
            towns = await self.below(3, county)
            found = _mentioned(to.address, towns) if towns else 0
            if found is None:
                return f"JD needs the street office or town of {where}, and the address names none that it knows"
            town = found
        return Area(ids[0] or 0, ids[1] or 0, county, town)


def _match(name: str, names: Mapping[str, int]) -> int | None:
    """The one area of this name, written in full or without its ending."""
    if name in names:
        return names[name]
    found = {area for other, area in names.items() if _short(other) == _short(name)}
    return found.pop() if len(found) == 1 else None


def _mentioned(address: str, names: Mapping[str, int]) -> int | None:
    """The one area that an address mentions, or the only one that there is."""
    if len(names) == 1:
        return next(iter(names.values()))
    said = sorted((name for name in names if len(name) > 1 and name in address), key=len, reverse=True)
    said = [name for name in said if not any(name != longer and name in longer for longer in said)]
    return names[said[0]] if len(said) == 1 else None


def _short(name: str) -> str:
    """A name without its ending, where something is left of it."""
    name = name.strip()
    cut = _ENDING.sub("", name)
    return cut if len(cut) > 1 else name
