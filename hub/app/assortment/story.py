"""The parts of the sample assortment that the demo's story turns on: which product fails over, which has one seller
only, which one arrives late, and which prices stand exactly on the parity boundary. Everything else is ordinary."""

from __future__ import annotations

from decimal import Decimal

from hub.app.assortment.model import gtin13
from hub.app.assortment.taxonomy import GROCERY, SHOP

FAILOVER = gtin13(2901, 0, 0, 1)  # tissues: the grocery is cheaper, shows stock and refuses; the shop has them too
SOLE_SOURCE = gtin13(2202, 0, 0, 0)  # yoghurt: only the grocery sells it, and refuses
LATE = gtin13(3501, 0, 0, 0)  # kettle: the shop ships it, the carrier delivers it after 72 hours
BOUNDARY_PASS = gtin13(3503, 0, 0, 0)  # rice cooker: dearer than the reference by exactly 5.00 %
SCARCE = BOUNDARY_PASS  # the last ten of it, and thirty people
BOUNDARY_BREACH = gtin13(3604, 0, 0, 0)  # earbuds: dearer by exactly 5.01 %
CONTENDED = gtin13(1101, 0, 0, 1)  # masks, box of 50: sold by three vendors, ordered by everybody
PACKED = gtin13(2101, 0, 0, 1)  # mineral water, 24 bottles: the market's price is of 12
NEGOTIATED = gtin13(2102, 0, 0, 0)  # soda water: far above the market, until the prices are level

# A corner shop that writes no barcodes: its SKU, its words, its price, the GTIN of the thing that it looks like,
# whether it is that thing. What is not, says so itself: another count, another size.
CORNER = "街角便利"
CORNER_SHELF: tuple[tuple[str, str, str, str, bool], ...] = (
    ("JJ-1", "山泉里矿泉水 天然 550毫升×24瓶 整箱", "41.00", gtin13(2101, 0, 0, 1), True),
    ("JJ-2", "朝露 牛奶洗手液 500ml*6瓶", "69.00", gtin13(2909, 0, 1, 0), False),
    ("JJ-3", "溪谷牧 全脂鲜牛奶 750ml/瓶", "14.50", gtin13(2203, 0, 0, 0), False),
)
REFUSED_BY_GROCERY = (FAILOVER, SOLE_SOURCE)

FORCED_PRICES: dict[tuple[str, str], Decimal] = {
    (SHOP, FAILOVER): Decimal("52.90"),
    (GROCERY, FAILOVER): Decimal("50.80"),
    (SHOP, BOUNDARY_PASS): Decimal("231.00"),
    (SHOP, BOUNDARY_BREACH): Decimal("210.02"),
}
BOUNDARY_REFERENCES: dict[str, Decimal] = {
    BOUNDARY_PASS: Decimal("220.00"),
    BOUNDARY_BREACH: Decimal("200.00"),
}
FORCED_STOCK: dict[tuple[str, str], int] = {
    (SHOP, FAILOVER): 240,
    (GROCERY, FAILOVER): 60,
    (GROCERY, SOLE_SOURCE): 40,
    (SHOP, LATE): 80,
    (SHOP, BOUNDARY_PASS): 35,
    (SHOP, BOUNDARY_BREACH): 50,
    (SHOP, CONTENDED): 300,
}
