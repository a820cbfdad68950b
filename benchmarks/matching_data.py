"""A made-up market for the matching benchmark: products that come in families of near twins (the next capacity, colour,
model number, pack), and vendors that each write titles in their own way. Everything follows from the seed; the brands
are syllables, the nouns and fillers ordinary words of shops. `true` of a listing is the product it is, or None for a
sibling that the catalogue does not have."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from catalog.matching import Offer

_SYLLABLES = (
    "ka", "lo", "mi", "ren", "to", "va", "zen", "dor", "bel", "pax", "nu", "qui", "sar", "tek", "ho", "li", "ara",
    "mon", "fen", "gul",
)  # fmt: skip
_ZH_SYLLABLES = "华安康美佳瑞达乐宝欣洁诺维凯恒雅源盛博尚"
# noun, noun in Chinese, what it comes in, which of the facts it has
_NOUNS = (
    ("wireless mouse", "无线鼠标", "", "code colour"), ("usb flash drive", "U盘", "gb", "code"),
    ("solid state drive", "固态硬盘", "gb", "code"), ("memory card", "存储卡", "gb", "code"),
    ("lcd monitor", "液晶显示器", "inch", "code colour"), ("led television", "液晶电视", "inch", "code"),
    ("bluetooth headphones", "蓝牙耳机", "", "code colour"), ("electric kettle", "电热水壶", "litre", "code colour"),
    ("coffee machine", "咖啡机", "", "code colour"), ("vacuum cleaner", "吸尘器", "", "code colour"),
    ("led bulb", "LED灯泡", "watt", "code"), ("power bank", "移动电源", "mah", "code colour"),
    ("digital camera", "数码相机", "mp", "code colour"), ("laser printer", "激光打印机", "", "code"),
    ("toner cartridge", "硒鼓", "", "code colour"), ("running shoes", "跑步鞋", "", "code colour"),
    ("sports watch", "运动手表", "", "code colour"), ("office chair", "办公椅", "", "code colour"),
    ("shampoo", "洗发水", "ml", "flavour"), ("body lotion", "身体乳", "ml", "flavour"),
    ("orange juice", "橙汁", "drink", ""), ("spring water", "矿泉水", "drink", ""),
    ("jasmine rice", "茉莉香米", "kg", ""), ("mixed nuts", "混合坚果", "grams", ""),
    ("vitamin c tablets", "维生素C片", "tablets", ""), ("fish oil capsules", "鱼油胶囊", "tablets", ""),
    ("face masks", "医用口罩", "pieces", ""), ("wet wipes", "湿巾", "pieces", ""),
    ("nitrile gloves", "丁腈手套", "pieces", ""), ("photo editing software", "照片编辑软件", "version", ""),
    ("antivirus software", "杀毒软件", "version", ""), ("tax software", "报税软件", "version", ""),
)  # fmt: skip
_SIZES: dict[str, tuple[str, ...]] = {
    "": ("",), "gb": ("16", "32", "64", "128", "256", "512"), "inch": ("19", "22", "24", "27", "32", "42", "55"),
    "litre": ("1.2", "1.5", "1.7"), "watt": ("5", "7", "9", "12"), "mah": ("5000", "10000", "20000"),
    "mp": ("12", "16", "20"), "ml": ("200", "400", "500", "750"),
    "drink": ("330x6", "330x24", "500x12", "500x24", "1000x6"),
    "kg": ("1", "2.5", "5", "10"), "grams": ("100", "250", "500", "750"), "tablets": ("30", "60", "90", "120"),
    "pieces": ("10", "20", "50", "100"), "version": ("7", "8", "9", "2006", "2007", "2008"),
}  # fmt: skip
_COLOURS = (("black", "黑色"), ("white", "白色"), ("silver", "银色"), ("red", "红色"), ("blue", "蓝色"))
_FLAVOURS = (("lemon", "柠檬"), ("rose", "玫瑰"), ("aloe vera", "芦荟"), ("green tea", "绿茶"))
_SERIES = (
    "pro-line", "comfort", "active", "classic", "essence", "nova", "urban", "prime", "swift", "aero", "terra", "pulse",
    "vista", "halo", "ridge",
)  # fmt: skip
_FILLERS = (
    "new", "free shipping", "original", "with 2 year warranty", "in stock", "best price", "retail box", "hot sale",
    "for home and office", "high quality", "lightweight", "easy to use", "ideal gift", "genuine",
)  # fmt: skip
# series, flavour, noun, size, colour, code: in what order a title may have them
_ORDERS = (
    (0, 1, 2, 3, 4, 5),
    (0, 5, 3, 1, 2, 4),
    (5, 0, 1, 2, 3, 4),
    (0, 2, 5, 1, 3, 4),
    (0, 3, 4, 1, 2, 5),
    (2, 0, 1, 5, 4, 3),
)
_ZH_FILLERS = ("正品", "包邮", "官方旗舰", "家用", "新款", "热卖", "办公", "送礼", "全国联保", "高品质")


@dataclass(frozen=True)
class Thing:
    """A product as it is, before anybody writes it down."""

    brand: int
    noun: int
    series: str
    code: str
    size: str
    colour: int
    flavour: int


def things(count: int, seed: int = 7) -> list[Thing]:
    """`count` different products in families."""
    rnd = random.Random(seed)
    found: dict[Thing, None] = {}
    while len(found) < count:
        brand, noun = rnd.randrange(2000), rnd.randrange(len(_NOUNS))
        _, _, kind, has = _NOUNS[noun]
        series = rnd.choice(_SERIES)
        letters = "".join(rnd.choice("ABCDEFGHKLMNPRSTVWX") for _ in range(rnd.randint(1, 3)))
        start = rnd.randrange(10, 9000)
        for step in range(rnd.randint(1, 3)):
            code = f"{letters}{start + step * rnd.choice((1, 5, 10))}" if "code" in has else ""
            for size in rnd.sample(_SIZES[kind], min(len(_SIZES[kind]), rnd.randint(1, 3))):
                for colour in rnd.sample(range(len(_COLOURS)), rnd.randint(1, 3) if "colour" in has else 1):
                    for flavour in rnd.sample(range(len(_FLAVOURS)), rnd.randint(1, 2) if "flavour" in has else 1):
                        thing = Thing(
                            brand, noun, series, code, size, colour if "colour" in has else -1,
                            flavour if "flavour" in has else -1,
                        )  # fmt: skip
                        found[thing] = None
    return list(found)[:count]


def brand_name(number: int) -> tuple[str, str]:
    """A brand in Latin letters and in Chinese."""
    n = len(_SYLLABLES)
    latin = (
        _SYLLABLES[number % n]
        + _SYLLABLES[number // n % n]
        + (_SYLLABLES[number // n // n % n] if number >= n * n else "")
    )
    return latin.capitalize(), _ZH_SYLLABLES[number % n] + _ZH_SYLLABLES[number // n % n] + (
        "" if number < n * n else "堂"
    )


def offer(thing: Thing, id_: str, vendor: str | None, style: int, rnd: random.Random) -> Offer:
    """The thing as a vendor of this style writes it. Styles 0 and 1 are English, 2 is Chinese; 1 and 2 are loose: they
    leave out, abbreviate, mistype and advertise."""
    chinese, loose = style == 2, style > 0
    noun, noun_zh, kind, _ = _NOUNS[thing.noun]
    name, name_zh = brand_name(thing.brand)
    brand = name_zh if chinese else name
    code = _code(thing.code, style, rnd)
    size = _size(thing.size, kind, chinese, rnd)
    colour = _COLOURS[thing.colour][chinese] if thing.colour >= 0 else ""
    if loose and colour and rnd.random() < 0.1:
        colour = ""
    flavour = _FLAVOURS[thing.flavour][chinese] + ("味" if chinese else "") if thing.flavour >= 0 else ""
    words = noun_zh if chinese else noun
    if loose and not chinese and rnd.random() < 0.15:
        words = _slip(words, rnd)
    series = thing.series if not loose or rnd.random() < 0.8 else ""
    parts = [series, flavour, words, size, colour, code]
    if loose:
        parts = [parts[k] for k in rnd.choice(_ORDERS)]
        parts.insert(rnd.randrange(len(parts) + 1), rnd.choice(_ZH_FILLERS if chinese else _FILLERS))
    title = " ".join(
        part for part in ([brand, *parts] if not (loose and code) or rnd.random() < 0.9 else parts) if part
    )
    return Offer(
        id=id_, title=title, vendor=vendor, brand=brand if rnd.random() < 0.6 else None,
        mpn=thing.code if thing.code and rnd.random() < 0.15 else None,
    )  # fmt: skip


def _code(code: str, style: int, rnd: random.Random) -> str:
    if not code or style == 0:
        return code
    letters = code.rstrip("0123456789")
    return rnd.choice((code, code.lower(), f"{letters}-{code[len(letters) :]}", f"{letters} {code[len(letters) :]}"))


_UNIT = {
    "gb": (("{}GB", "{} GB", "{}gb"), ("{}GB", "{}G")), "inch": (("{} inch", '{}"', "{}-inch"), ("{}英寸", "{}寸")),
    "litre": (("{}L", "{} l", "{} litre"), ("{}L", "{}升")), "watt": (("{}W", "{} watt"), ("{}W", "{}瓦")),
    "mah": (("{}mAh", "{} mAh"), ("{}毫安", "{}mAh")), "mp": (("{}MP", "{} megapixel"), ("{}MP",)),
    "ml": (("{}ml", "{} ml"), ("{}ml", "{}毫升")), "kg": (("{}kg", "{} kg"), ("{}kg", "{}公斤", "{}千克")),
    "grams": (("{}g", "{} g"), ("{}g", "{}克")), "tablets": (("{} tablets", "{} ct", "{} count"), ("{}片", "{}粒")),
    "pieces": (("{} pcs", "{} pack", "pack of {}"), ("{}只/盒", "{}片装", "{}只")), "version": (("{}", "v{}.0"),
    ("{}",)),
}  # fmt: skip


def _size(size: str, kind: str, chinese: bool, rnd: random.Random) -> str:
    if not kind:
        return ""
    if kind == "drink":
        each, count = size.split("x")
        forms = ("{}ml*{}瓶", "{}毫升×{}") if chinese else ("{}ml x {}", "{} ml {}-pack", "{}ml {} bottles")
        return rnd.choice(forms).format(each, count)
    form = rnd.choice(_UNIT[kind][chinese])
    if form == "v{}.0" and len(size) == 4:
        form = "{}"
    return form.format(size)


def _slip(text: str, rnd: random.Random) -> str:
    at = rnd.randrange(1, len(text) - 1)
    return text[:at] + text[at + 1 :]


def catalogue(made: list[Thing]) -> list[Offer]:
    """Products as the catalogue has them: a Chinese title, and the English one beside it."""
    rnd = random.Random(1)
    found = []
    for number, thing in enumerate(made):
        english = offer(thing, f"p{number}", None, 0, rnd)
        chinese = offer(thing, f"p{number}", None, 2, rnd)
        first, second = (english, chinese) if number % 3 else (chinese, english)
        found.append(
            Offer(
                id=first.id, title=first.title, brand=first.brand, mpn=english.mpn,
                other_titles=(second.title,),
            )
        )  # fmt: skip
    return found


def listings(
    known: list[Thing], unknown: list[Thing], count: int, new: float = 0.3, seed: int = 3
) -> Iterator[tuple[Offer, int | None]]:
    """(a vendor's listing, the product it is)."""
    rnd = random.Random(seed)
    for number in range(count):
        style = 1 if rnd.random() < 0.6 else 2
        if rnd.random() < new:
            yield offer(unknown[rnd.randrange(len(unknown))], f"l{number}", f"v{number % 50}", style, rnd), None
        else:
            which = rnd.randrange(len(known))
            yield offer(known[which], f"l{number}", f"v{number % 50}", style, rnd), which
