"""What somebody wants to find, already validated, and in which order."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from catalog.segment import Term

if TYPE_CHECKING:
    from catalog.assortments import Assortment


class Order(StrEnum):
    """The order of a result. `rank` needs every hit at hand; the others can be walked."""

    RANK = "rank"  # text, then availability, then popularity
    POPULAR = "popular"  # availability, then popularity
    PRICE = "price"
    PRICE_DOWN = "-price"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class Wish:
    """What a reader asks for, already validated."""

    terms: tuple[Term, ...] = ()
    phrases: tuple[str, ...] = ()  # the query in lower case, as typed and folded where that differs
    gtin: str | None = None
    kind: str | None = None
    category: str | None = None
    brand: str | None = None
    brand_terms: tuple[Term, ...] = ()
    vendor: str | None = None  # a name
    vendor_id: int | None = None
    price_min: Decimal | None = None
    price_max: Decimal | None = None
    in_stock: bool = False
    mode: str | None = None
    city: str | None = None
    department: str | None = None
    zone: tuple[int, int] | None = None  # an emergency's zone, and the mall that looks at it (0: staff)
    assortment: Assortment | None = field(default=None, repr=False)  # a cursor outlives a change of the mall's rules

    @property
    def few(self) -> bool:
        """Whether it can only fit a handful of products, whatever else it asks for."""
        return self.gtin is not None or self.zone is not None
