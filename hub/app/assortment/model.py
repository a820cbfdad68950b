"""The values of the sample assortment: a vendor, a category, an item, and the few deterministic rules that make
them (identifiers, prices, counts). Owns no data. Everything is a pure function of the authored files: two builds are
equal byte for byte, on any machine.

The GTINs begin with 952, the GS1 prefix set aside for demonstrations and examples, so that no sample item can
ever be taken for a real trade item. The in-store prefixes 20-29 would not do: such numbers mean something only inside
one shop, and the same GTIN at two vendors is exactly what merges two offers here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from hashlib import blake2s
from importlib import resources
from typing import Any

import yaml
from stdnum import ean

from hub.kernel.types import DeliveryMode, Kind

GTIN_PREFIX = "952"


@dataclass(frozen=True)
class SampleVendor:
    """One sandbox vendor: which connector speaks to it, in which role, and what it shows in the demo."""

    key: str
    name: str
    name_en: str
    connector: str
    role: str  # supply or reference
    story: str


@dataclass(frozen=True)
class Category:
    """One category of the shared taxonomy; listings carry the Chinese name, shops the slug as well."""

    slug: str
    name: str
    name_en: str
    kind: Kind


@dataclass(frozen=True)
class SampleItem:
    """One sellable SKU of one vendor. `price` is CNY; `on_hand` counts units, None where slots are the stock."""

    vendor: str
    sku: str
    title: str
    title_en: str
    category: Category
    price: Decimal
    on_hand: int | None
    mode: DeliveryMode
    description: str
    brand: str | None = None
    model: str | None = None
    gtin: str | None = None
    pack: str | None = None
    city: str | None = None
    city_en: str | None = None
    department: str | None = None
    department_en: str | None = None
    minutes: int | None = None  # how long an appointment takes
    image_url: None = None

    @property
    def kind(self) -> Kind:
        return self.category.kind


@cache
def authored(name: str) -> Any:
    """The packaged YAML file `name`, parsed. Callers must not change what they get."""
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return yaml.safe_load(text)


def bilingual(text: str, fields: int = 2) -> list[str]:
    """`"中文|English|…"` split; raises ValueError when a language is missing or there are more than `fields` parts."""
    parts = [part.strip() for part in text.split("|")]
    if not 2 <= len(parts) <= fields or not all(parts):
        raise ValueError(f"expected 中文|English, got {text!r}")
    return parts


def draw(key: str, below: int) -> int:
    """A number in [0, below) that depends on `key` alone: variety without a random generator."""
    return int.from_bytes(blake2s(key.encode(), digest_size=8).digest()) % below


def gtin13(family: int, brand: int, variant: int, pack: int) -> str:
    """952, four digits of family, one of brand, two each of variant and pack, and the check digit."""
    body = f"{GTIN_PREFIX}{family:04d}{brand:01d}{variant:02d}{pack:02d}"
    return body + str(ean.calc_check_digit(body))


def money(amount: Decimal, step: str = "0.10") -> Decimal:
    """`amount` rounded half-up to a multiple of `step`, with two decimals."""
    unit = Decimal(step)
    return ((amount / unit).quantize(Decimal(1), rounding=ROUND_HALF_UP) * unit).quantize(Decimal("0.01"))


def count(key: str) -> int:
    """A believable stock count: about one SKU in fifty is out, one in twenty is nearly out."""
    spread = draw(f"stock:{key}", 100)
    if spread < 2:
        return 0
    if spread < 7:
        return 1 + draw(f"few:{key}", 6)
    return 20 + draw(f"many:{key}", 380)


_CONTAINERS = {
    "盒": ("box", "boxes"),
    "袋": ("bag", "bags"),
    "瓶": ("bottle", "bottles"),
    "罐": ("tin", "tins"),
    "桶": ("tub", "tubs"),
    "包": ("pack", "packs"),
    "套": ("set", "sets"),
    "箱": ("case", "cases"),
    "卷": ("roll", "rolls"),
    "支": ("tube", "tubes"),
    "粒": ("capsule", "capsules"),
    "颗": ("capsule", "capsules"),
    "片": ("tablet", "tablets"),
    "条": ("stick", "sticks"),
}
_MULTIPACK = re.compile(r"(?P<each>[\d.]+)(?P<unit>ml|L|mg|g|kg|m|[^\W\d])\*(?P<count>\d+)(?P<container>[^\W\d])")
_PACK = re.compile(r"(?P<each>[\d.]+)(?P<unit>ml|L|mg|g|kg|m|[^\W\d])/(?P<container>[^\W\d])")
_SINGLE = re.compile(r"1[^\W\d]")


def pack_in_english(pack: str) -> str:
    """The vendor's pack text in English, empty for a single piece: 50只/盒 is "box of 50", 500ml*12瓶 is
    "12 bottles of 500 ml". Raises ValueError for a text of another form."""
    if _SINGLE.fullmatch(pack):
        return ""
    match = _MULTIPACK.fullmatch(pack) or _PACK.fullmatch(pack)
    if match is None or match["container"] not in _CONTAINERS:
        raise ValueError(f"no English for the pack {pack!r}")
    each, unit, container = match["each"], match["unit"], match["container"]
    measured = unit.isascii()
    number = int(match["count"]) if "*" in pack else 1
    noun = _noun(container, unit, Decimal(each), many=number > 1, multipack="*" in pack)
    if "*" in pack:
        return f"{number} {noun} of {each} {unit}" if measured else f"{number} {noun} of {each}"
    return f"{each} {unit} {noun}" if measured else f"{noun} of {each}"


def _noun(container: str, unit: str, each: Decimal, *, many: bool, multipack: bool) -> str:
    """What English calls the container, which depends on what is in it."""
    liquid = unit in ("ml", "L")
    special = {
        ("盒", True): ("carton", "cartons"),
        ("罐", True): ("can", "cans"),
        ("桶", True): ("jug", "jugs"),
        ("袋", True): ("pouch", "pouches"),
    }.get((container, liquid))
    if container == "支" and unit == "ml" and multipack:
        special = ("vial", "vials")
    elif container == "袋" and unit == "g" and each <= 10:
        special = ("sachet", "sachets")
    elif container == "包" and unit == "g":
        special = ("bag", "bags")
    return (special or _CONTAINERS[container])[many]
