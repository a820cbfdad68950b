"""What every reading of a text takes away first, whether it is matched or searched: width, traditional characters, and
the accents of Latin letters. The characters are OpenCC's (its table for traditional to simplified, taken one by
one, because a phrase would be cut differently in a title and in a query)."""

from __future__ import annotations

import functools
import re
import unicodedata

import opencc

_HAN = (range(0x3400, 0xA000), range(0xF900, 0xFB00))
_ACCENTED = re.compile("[\u00c0-\u024f\u1e00-\u1eff]|[\u0300-\u036f]+")


@functools.cache
def _simplified() -> tuple[dict[int, str], re.Pattern[str]]:
    """Traditional characters with their simplified ones, and where any stands. Made once, in some 20 ms."""
    characters = [chr(number) for numbers in _HAN for number in numbers]
    converted = opencc.OpenCC("t2s").convert("\n".join(characters)).split("\n")
    table = {ord(old): new for old, new in zip(characters, converted, strict=True) if old != new and len(new) == 1}
    return table, re.compile(f"[{''.join(map(chr, table))}]")


def _bare(match: re.Match[str]) -> str:
    letter = unicodedata.normalize("NFKD", match.group())[0]
    return "" if unicodedata.combining(letter) else letter


def plain(text: str) -> str:
    """`text` in half width and simplified characters, Latin letters without their accents; case stays."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    if _ACCENTED.search(text):
        text = _ACCENTED.sub(_bare, text)
    table, traditional = _simplified()
    return text.translate(table) if traditional.search(text) else text
