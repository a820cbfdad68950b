"""Words by which one maker's goods differ among themselves: colour, edition, platform, language, wearer, condition,
flavour. Each class is a closed list, folded to one spelling; two titles that name different members of one class speak
of different things."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_CLASSES: dict[str, dict[str, str]] = {
    "colour": {
        "black": "black blk 黑 黑色 曜石黑 深空黑",
        "white": "white wht 白 白色 珍珠白 陶瓷白",
        "silver": "silver slv 银 银色",
        "grey": "grey gray gry graphite charcoal gunmetal 灰 灰色 深空灰 石墨",
        "red": "red crimson 红 红色 中国红 大红",
        "blue": "blue azure 蓝 蓝色 天蓝 宝蓝",
        "navy": "navy 藏青 深蓝 海军蓝",
        "green": "green grn olive 绿 绿色 墨绿 军绿",
        "pink": "pink 粉 粉色 粉红 粉红色",
        "purple": "purple violet lavender 紫 紫色",
        "gold": "gold golden champagne 金 金色 香槟金 土豪金",
        "rosegold": "rosegold 玫瑰金",
        "orange": "orange 橙 橙色 橘色",
        "yellow": "yellow 黄 黄色",
        "brown": "brown espresso 棕 棕色 咖啡色 褐色",
        "beige": "beige ivory cream tan khaki 米色 米白 卡其 卡其色 杏色",
        "bronze": "bronze 古铜 古铜色",
        "cyan": "cyan 青色",
        "magenta": "magenta 品红",
        "teal": "teal turquoise 湖蓝",
        "tricolour": "tricolor tricolour tricolour",
        "transparent": "transparent 透明",
    },
    "edition": {
        "standard": "standard std 标准版 标准",
        "professional": "professional pro prof 专业版 专业",
        "premium": "premium prem 高级版 尊享版",
        "deluxe": "deluxe dlx dlux delux 豪华版 豪华",
        "home": "home 家庭版",
        "basic": "basic 基础版",
        "plus": "plus 增强版",
        "ultimate": "ultimate 旗舰版 旗舰",
        "enterprise": "enterprise ent 企业版",
        "business": "business 商务版",
        "platinum": "platinum plat 铂金版",
        "lite": "lite le light 轻享版 青春版",
        "express": "express 极速版",
        "elements": "element",
        "premier": "premier",
        "max": "max",
        "mini": "mini 迷你",
        "ultra": "ultra 至尊版",
        "advanced": "advanced 进阶版",
        "corporate": "corporate",
        "small business": "smb",
        "collector": "collector collectors 典藏版 收藏版",
    },
    "licence": {
        "upgrade": "upgrade upgrad upgr upg upsell 升级版 升级",
        "academic": "academic education educational edu student teacher school acad 教育版 学生版",
        "oem": "oem",
        "subscription": "subscription renewal 续费",
    },
    "platform": {
        "mac": "mac macintosh macos osx",
        "windows": "windows window win",
        "linux": "linux unix",
        "ps1": "ps1 psone",
        "ps2": "ps2 playstation2",
        "ps3": "ps3 playstation3",
        "ps4": "ps4 playstation4",
        "ps5": "ps5 playstation5",
        "psp": "psp",
        "xbox": "xbox",
        "xbox360": "xbox360",
        "wii": "wii",
        "gamecube": "gamecube",
        "gameboy": "gameboy gba",
        "nintendo ds": "nds 3ds",
        "switch": "nintendoswitch",
        "android": "android 安卓",
        "iphone": "iphone 苹果",
    },
    "language": {
        "english": "english 英文 英文版 英语",
        "french": "french francais 法语",
        "german": "german deutsch 德语",
        "spanish": "spanish espanol 西班牙语",
        "italian": "italian 意大利语",
        "japanese": "japanese 日文 日版 日语",
        "chinese": "chinese mandarin 中文 国行 中文版",
        "portuguese": "portuguese",
        "russian": "russian 俄语",
        "korean": "korean 韩版 韩语",
        "dutch": "dutch",
    },
    "wearer": {
        "men": "men man male gent 男 男士 男款 男式 男性",
        "women": "women woman female lady ladies ladie 女 女士 女款 女式 女性",
        "children": "kid kids child children boy girl youth junior toddler 儿童 小孩 童 小儿 学生",
        "infants": "baby infant newborn 婴儿 婴幼儿 宝宝 新生儿",
        "adults": "adult 成人",
        "expecting": "maternity prenatal 孕妇",
        "elders": "senior 中老年 老年 老人",
    },
    "condition": {
        "refurbished": "refurbished refurb reconditioned renewed recertified remanufactured reman 翻新 官翻",
        "used": "used preowned secondhand 二手",
    },
    "flavour": {
        "vanilla": "vanilla 香草", "strawberry": "strawberry strawberries 草莓", "chocolate": "chocolate 巧克力",
        "lemon": "lemon 柠檬", "mint": "peppermint spearmint 薄荷", "coconut": "coconut 椰子 椰香",
        "mango": "mango 芒果",
        "peach": "peach 蜜桃 水蜜桃 白桃", "cherry": "cherry 樱桃", "grape": "grape 葡萄",
        "blueberry": "blueberry 蓝莓",
        "raspberry": "raspberry 树莓", "aloe": "aloe 芦荟", "rose": "rose 玫瑰", "jasmine": "jasmine 茉莉",
        "eucalyptus": "eucalyptus 桉叶", "cinnamon": "cinnamon 肉桂", "caramel": "caramel 焦糖",
        "hazelnut": "hazelnut 榛子",
        "almond": "almond 杏仁 巴旦木", "honey": "honey 蜂蜜", "ginger": "ginger 生姜", "matcha": "matcha 抹茶",
        "green tea": "绿茶", "spicy": "spicy 香辣 麻辣", "tomato": "tomato 番茄", "banana": "banana 香蕉",
    },
    "bundle": {
        "bundle": "bundle kit combo 套装 套餐 礼盒 礼盒装 组合 组合装 礼包",
    },
    "accessory": {
        "case": "case sleeve pouch holster cover skin bumper 保护套 保护壳 手机壳 收纳包 外壳 皮套",
        "protector": "protector 钢化膜 贴膜 保护膜 手机膜",
        "charger": "charger 充电器",
        "cable": "cable cord 数据线 连接线 充电线",
        "battery": "battery batterie 电池",
        "adapter": "adapter adaptor 适配器 转接头",
        "mount": "mount bracket stand holder 支架 挂架",
        "strap": "strap band 表带 腕带",
        "cartridge": "cartridge toner refill 墨盒 硒鼓 替芯 替换装 补充装",
        "filter": "filter 滤芯",
        "remote": "remote 遥控器",
        "bag": "bag backpack 背包",
    },
}  # fmt: skip
WORDS: dict[str, tuple[str, str]] = {
    spelling: (kind, name)
    for kind, names in _CLASSES.items()
    for name, spellings in names.items()
    for spelling in spellings.split()
}
_JOINED = {
    ("rose", "gold"): "rosegold", ("xbox", "360"): "xbox360", ("playstation", "2"): "ps2", ("playstation", "3"): "ps3",
    ("playstation", "4"): "ps4", ("playstation", "5"): "ps5", ("game", "boy"): "gameboy", ("green",
    "tea"): "绿茶", ("pre", "owned"): "preowned",
    ("second", "hand"): "secondhand", ("open", "box"): "used", ("nintendo", "switch"): "nintendoswitch",
}  # fmt: skip


def variants(words: Sequence[str], but: Sequence[str] = ()) -> dict[str, frozenset[str]]:
    """Class -> members that these words name, words of the brand aside."""
    found: dict[str, set[str]] = {}
    before = ""
    for word in words:
        if word in but:
            continue
        joined = _JOINED.get((before, word))
        hit = WORDS.get(joined or word)
        if word == "eye" and before == "red":
            found.get("colour", set()).discard("red")
        elif word[-1] == "味":
            name = (before if word == "味" else word[:-1]).removesuffix("口")
            kind, canonical = WORDS.get(name, ("flavour", name))
            found.setdefault("flavour", set()).add(canonical if kind == "flavour" else name)
        elif hit is not None and not (before == "for" and hit[0] == "edition"):  # "for home and office"
            if joined and before in WORDS:
                found.get(WORDS[before][0], set()).discard(WORDS[before][1])
            found.setdefault(hit[0], set()).add(hit[1])
        before = word
    return {kind: frozenset(names) for kind, names in found.items() if names}


def names_of(kind: str, words: Iterable[str]) -> frozenset[str]:
    """The members of one class among these words."""
    return frozenset(WORDS[w][1] for w in words if w in WORDS and WORDS[w][0] == kind)
