"""JSON from strangers: fast for what is well-formed, bounded in depth, and tolerant of the one common sin (NaN and
Infinity as bare words), which becomes text that no number field accepts, so that one bad row does not cost the page."""

from __future__ import annotations

import json
from typing import Any

import orjson


def loads(body: bytes, max_depth: int = 40) -> Any:
    """The value in `body` (UTF-8, a byte-order mark is allowed). Raises ValueError."""
    if body[:3] == b"\xef\xbb\xbf":
        body = body[3:]
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if b"NaN" not in body and b"Infinity" not in body:
            raise ValueError(str(error)[:200]) from None
        try:
            value = json.loads(body, parse_constant=str)
        except RecursionError:
            raise ValueError("it is nested too deep") from None
    if _may_exceed(body, max_depth) and depth_exceeds(value, max_depth):
        raise ValueError(f"it is nested deeper than {max_depth}")
    return value


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _may_exceed(body: bytes, limit: int) -> bool:
    """Whether brackets alone leave the depth open: pairs are struck out from the inside, `limit` times. Brackets
    inside text may leave some over; then the value itself is walked."""
    brackets = body.translate(None, _NO_BRACKETS)
    for _ in range(limit):
        if not brackets:
            return False
        shorter = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if shorter == brackets:
            return True
        brackets = shorter
    return bool(brackets)


def depth_exceeds(value: Any, limit: int) -> bool:
    """Whether containers are nested more than `limit` deep; looks at containers only."""
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    depth = 0
    while level:
        depth += 1
        if depth > limit:
            return True
        deeper: list[Any] = []
        for container in level:
            items = container.values() if type(container) is dict else container
            for item in items:
                kind = type(item)
                if kind is dict or kind is list:
                    deeper.append(item)
        level = deeper
    return False


def text_of(record: Any, limit: int = 60_000) -> str:
    """The record as JSON text of at most `limit` characters, for people to look at."""
    try:
        return orjson.dumps(record, default=str, option=orjson.OPT_NON_STR_KEYS).decode()[:limit]
    except (TypeError, ValueError):
        return repr(record)[:limit]
