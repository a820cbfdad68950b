"""What speaks for and against a pair, in words for people: Chinese and English of everything that matching may name."""

from __future__ import annotations

from typing import NamedTuple


class Words(NamedTuple):
    zh: str
    en: str


FIELDS: dict[str, Words] = {
    "gtin": Words("条码", "GTIN"), "packaging level": Words("包装层级", "packaging level"),
    "mpn": Words("厂家型号", "manufacturer's number"), "model": Words("型号", "model"), "count": Words("件数", "count"),
    "mass": Words("重量", "weight"), "volume": Words("容量", "volume"), "storage": Words("存储容量", "storage"),
    "length": Words("尺寸", "length"), "mark": Words("尺寸", "size"), "power": Words("功率", "power"),
    "charge": Words("电池容量", "battery charge"), "voltage": Words("电压", "voltage"),
    "frequency": Words("频率", "frequency"), "pixels": Words("像素", "pixels"), "rate": Words("速率", "rate"),
    "rotation": Words("转速", "rotation"), "heat": Words("制热量", "heat"), "zoom": Words("变焦", "zoom"),
    "days": Words("期限", "term"),
    "colour": Words("颜色", "colour"), "edition": Words("版本", "edition"), "licence": Words("授权", "licence"),
    "platform": Words("平台", "platform"), "language": Words("语言", "language"), "wearer": Words("适用人群", "wearer"),
    "condition": Words("成色", "condition"), "flavour": Words("口味", "flavour"),
    "accessory": Words("配件", "accessory"),
    "bundle": Words("套装", "bundle"), "users": Words("用户数", "users"), "year": Words("年份", "year"),
    "category": Words("类目", "category"), "title": Words("标题", "title"),
    "title_en": Words("英文标题", "English title"),
    "brand": Words("品牌", "brand"), "pack": Words("规格", "pack"), "price": Words("价格", "price"),
    "number": Words("数字", "number"),
}  # fmt: skip

DOUBTS: dict[str, Words] = {
    "count": Words("只有一方写明件数", "only one side states a count"),
    "condition": Words("只有一方写明成色(如翻新)", "only one side states a condition (refurbished, say)"),
    "licence": Words("只有一方写明授权类型", "only one side states a licence"),
    "price": Words(
        "价格相差五倍以上，请看是否同一件商品", "the prices are more than five times apart: is it one thing?"
    ),
    "rival": Words("另有一件商品同样相似", "another product looks just as much like it"),
    "thin": Words("共同之处太笼统，可能指很多商品", "what they share could be said of many things"),
    "vendor": Words("同一供应商有多个SKU指向同一商品", "several SKUs of one vendor want the same product"),
    "changed": Words("合并之后描述改变，现互相矛盾", "it says something else now than when the two were put together"),
}


def field(name: str) -> Words:
    """A field that matching names, in words. "number after X" is the number that stands behind X."""
    if name in FIELDS:
        return FIELDS[name]
    if name.startswith("letter after "):
        word = name.removeprefix("letter after ")
        return Words(f"“{word}”之后的字母", f"letter after “{word}”")
    kind, _, word = name.partition(" after ")
    if word:
        return Words(f"“{word}”之后的数字", f"{kind} after “{word}”")
    kind, _, word = name.partition(" before ")
    if word:
        return Words(f"“{word}”之前的数字", f"{kind} before “{word}”")
    return Words(name, name)


def doubt(code: str) -> Words:
    """Why a person should look, in words."""
    if code in DOUBTS:
        return DOUBTS[code]
    if code.startswith("gtin against "):
        named = field(code.removeprefix("gtin against "))
        return Words(f"条码相同，但{named.zh}互相矛盾", f"the GTIN is the same, but the {named.en} contradicts it")
    return Words(code, code)
