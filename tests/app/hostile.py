"""Makes hostile requests out of the OpenAPI document: every field, parameter and body with values that no careful
caller would send, drawn with a seed, so that a failure comes back when the test is run again."""

from __future__ import annotations

import base64
import contextlib
import copy
import gzip
import json
import random
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from hub.app.operations import api_document
from tests.app.api_calls import WAYS, Request, caller_of, operations, request
from tests.app.api_world import World

FIELD_TRIES = 14  # per operation, out of every field times every value
QUERY_TRIES = 8
DEEP = 20_000

# Pieces of JSON text, since much of what is hostile cannot be written by a JSON library.
VALUES = (
    "null", "true", "false", "0", "-1", "-0", "1.5", "1e400", "-1e400", "1e-400", "NaN", "Infinity", "-Infinity",
    "2147483648", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551616",
    "1e30", "-1e30", "9" * 5_000, "0.1e-9999999", "1" + "0" * 400 + ".5", "[]", "{}", "[[]]", '{"":""}', "[null]",
    "[" * 200 + "]" * 200, '{"a":' * 200 + "1" + "}" * 200,
    '""', '" "', '"0"', '"-1"', '"1e400"', '"NaN"', '"Infinity"', '"1e30"', '"' + "9" * 5_000 + '"', '"0x1"', '"1_0"',
    '"\\u0000"', '"a\\u0000b"', '"\\ud800"', '"\\udc00x"', '"\\ud800\\ud800"', '"\ufeff"', '"\u202e\u200b"',
    '"\u0663"', '"\uff11"', '"prd_\u0663"', '"lst_-1"', '"prd_999999999999999999"', '"lst_' + "9" * 400 + '"',
    '"prd_1 "', '"prd_1\\u0000"', '"ref_1"', '"' + "x" * 70_000 + '"', '"' + "口" * 5_000 + '"',
    '"\' OR \'1\'=\'1"', '"1; DROP TABLE orders; --"', '"<script>alert(1)</script>"', '"=cmd|\' /C calc\'!A0"',
    '"../../etc/passwd"', '"%s%n{0}${x}"', '"${jndi:ldap://x}"', '"http://169.254.169.254/"', '"file:///etc/passwd"',
    '"2026-02-30T00:00:00Z"', '"2026-01-01T00:00:00"', '"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"',
    '"2026-01-01"', '"1970-01-01T00:00:00Z"', '"99999-01-01T00:00:00Z"', "1e18", "-62135596801",
)  # fmt: skip

TEXTS = (
    "", " ", "0", "-1", "1.5", "1e400", "NaN", "Infinity", "-Infinity", "9223372036854775808", "9" * 1_000, "true",
    "nil", "\x00", "a\x00b", "\u0663", "\uff11", "\u202e", "\ufeff1", "口" * 300, "x" * 2_000, "' OR '1'='1", "1;--",
    "a' & | ! :* (", "<->", "\\", "%", "_", "*", ":", "prd_1", "lst_999999999999999999", "lst_" + "9" * 100,
    "ord_" + "0" * 32, "case_0", "<script>", "../../etc/passwd", "2026-02-30", "2026-01-01T00:00:00",
    "0001-01-01T00:00:00+14:00", "0001-01-01", "9999-12-31", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00Z",
    "AAAA", "e30=", "bnVsbA==", "W10=", "eyJhIjpbXX0=", "//8=", "=", "1_000", "0x10", " 5 ", "+5", "5\n",
)  # fmt: skip

RAW_TEXTS = ("%ED%A0%80", "%FF%FE", "%zz", "%", "%00%00", "a%2500", "%C0%AF", "%F5%80%80%80")


@dataclass(frozen=True)
class Try:
    """A hostile request and what makes it so."""

    label: str
    request: Request


def schema_of(operation: Mapping[str, Any]) -> dict[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] | None = content.get("application/json", {}).get("schema")
    return schema


def resolved(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema without references; each branch of an anyOf by itself."""
    if "$ref" in schema:
        yield from resolved(api_document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from resolved(branch)
    if "type" in schema or "enum" in schema or "const" in schema:
        yield schema


Place = tuple[str | int, ...]


def places(schema: Mapping[str, Any] | None, depth: int = 4) -> set[Place]:
    """Where a body of this schema has values."""
    found: set[Place] = {()}
    if schema is None or depth == 0:
        return found
    for branch in resolved(schema):
        for name, inner in branch.get("properties", {}).items():
            found |= {(name, *rest) for rest in places(inner, depth - 1)}
        if "items" in branch:
            found |= {(0, *rest) for rest in places(branch["items"], depth - 1)}
    return found


def places_in(value: Any) -> set[Place]:
    """Where this value has values."""
    found: set[Place] = {()}
    if isinstance(value, dict):
        for name, inner in value.items():
            found |= {(name, *rest) for rest in places_in(inner)}
    elif isinstance(value, list) and value:
        found |= {(0, *rest) for rest in places_in(value[0])}
    return found


HOLE = "\u2205hole\u2205"


def with_hole(body: Any, place: Place) -> Any:
    """The body with a hole at the place; whatever is missing on the way there is made."""
    if not place:
        return HOLE
    head, *rest = place
    if isinstance(head, int):
        inner = body[head] if isinstance(body, list) and body else None
        return [with_hole(inner, tuple(rest))]
    made = dict(body) if isinstance(body, dict) else {}
    made[head] = with_hole(made.get(head), tuple(rest))
    return made


def filled(body: Any, place: Place, value: str) -> bytes:
    text = json.dumps(with_hole(copy.deepcopy(body), place), ensure_ascii=False)
    return text.replace(json.dumps(HOLE, ensure_ascii=False), value, 1).encode("utf-8", "surrogatepass")


def without(body: Any, place: Place) -> Any:
    made = copy.deepcopy(body)
    at = made
    for step in place[:-1]:
        at = at[step]
    del at[place[-1]]
    return made


def bodies(body: Any, operation: Mapping[str, Any], rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Hostile JSON bodies: every field with values that it does not expect, fields gone, fields unknown."""
    base = {} if body is None else body
    spots = sorted(places(schema_of(operation)) | places_in(base), key=str)
    combinations = [(place, value) for place in spots for value in VALUES]
    for place, value in rng.sample(combinations, min(FIELD_TRIES, len(combinations))):
        yield f"{'/'.join(map(str, place)) or 'body'} = {value[:40]}", filled(base, place, value)
    for place in sorted(places_in(base) - {()}, key=str):
        yield f"without {'/'.join(map(str, place))}", json.dumps(without(base, place)).encode()
    for place in [p for p in sorted(places_in(base), key=str) if isinstance(at(base, p), dict)]:
        yield f"unknown field in {place}", filled(base, (*place, "unknown_field"), "1")
        yield f"NUL in a name in {place}", filled(base, (*place, "a\x00b"), "1")
        yield f"__proto__ in {place}", filled(base, (*place, "__proto__"), "{}")


def at(body: Any, place: Place) -> Any:
    for step in place:
        body = body[step]
    return body


def wrappings(good: bytes) -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """The good body (or none) as bytes that are not what they should be."""
    yield "empty body", b"", {}
    yield "blanks", b" \r\n\t", {}
    for text in ("null", "[]", "{}", '""', "0", "{", "}", '{"a":1,}', "{'a':1}", "nul", "[1", '"', "\x00", "/**/{}"):
        yield f"body {text!r}", text.encode(), {}
    yield "deep arrays", b"[" * DEEP + b"]" * DEEP, {}
    yield "deep objects", b'{"a":' * DEEP + b"1" + b"}" * DEEP, {}
    yield "unclosed depth", b"[" * DEEP, {}
    yield "BOM", b"\xef\xbb\xbf" + good, {}
    yield "UTF-16", good.decode().encode("utf-16"), {"Content-Type": "application/json; charset=utf-16"}
    yield "GB18030", '{"reason":"缺货"}'.encode("gb18030"), {"Content-Type": "application/json; charset=gb18030"}
    yield "not UTF-8", b'{"reason":"\xff\xfe"}', {}
    yield "unknown charset", good, {"Content-Type": "application/json; charset=nonsense"}
    yield "odd content type", good, {"Content-Type": ";;;=,"}
    yield "form", b"a=1&b=%00", {"Content-Type": "application/x-www-form-urlencoded"}
    yield "multipart", b"--x\r\n\r\n1\r\n--x--", {"Content-Type": "multipart/form-data; boundary=x"}
    yield "twice", good + good, {}
    yield "cut", good[: len(good) // 2], {}
    zipped = gzip.compress(good)
    yield "cut gzip", zipped[:-9], {"Content-Encoding": "gzip"}
    yield "gzip head", zipped[:5], {"Content-Encoding": "gzip"}
    yield "gzip of nothing", b"", {"Content-Encoding": "gzip"}
    yield "not gzip", good or b"{}", {"Content-Encoding": "gzip"}
    yield "gzip twice", gzip.compress(zipped), {"Content-Encoding": "gzip, gzip"}
    yield "brotli", good, {"Content-Encoding": "br"}
    yield "unknown encoding", good, {"Content-Encoding": "x-\u00e9"}
    yield "cut deflate", zlib.compress(good)[:-3], {"Content-Encoding": "deflate"}
    yield "gzip and rubbish", zipped + b"rubbish", {"Content-Encoding": "gzip"}


def queries(operation: Mapping[str, Any], good: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Hostile query strings, on top of the good one."""
    names = [p["name"] for p in operation["parameters"] if p["in"] == "query"]
    if not names:
        yield "a query where none is known", "?x=1"
        return
    keep = dict(pair.split("=", 1) for pair in good.split("&") if pair)
    options = [(name, quote(text, safe="")) for name in names for text in TEXTS]
    options += [(name, text) for name in names for text in RAW_TEXTS]
    for name, text in rng.sample(options, min(QUERY_TRIES, len(options))):
        pairs = {key: quote(value, safe="") for key, value in keep.items() if key != name} | {name: text}
        yield f"{name}={text[:40]}", "?" + "&".join(f"{key}={value}" for key, value in pairs.items())
    name = rng.choice(names)
    yield f"{name} three times", f"?{name}=1&{name}=2&{name}=3"
    yield f"{name} without value", f"?{name}"
    yield "an unknown parameter", "?unknown=1"
    yield "a thousand parameters", "?" + "&".join(f"p{n}=1" for n in range(1_000))


def tables(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Bodies that are no table, or one that says what cannot be."""
    head, _, row = good.partition(b"\n")
    yield from (
        ("nothing", b""), ("a line end", b"\n"), ("a header alone", head), ("JSON", b'{"a":1}'), ("a page", b"<html>"),
        ("no workbook", b"PK\x03\x04" + b"\0" * 40), ("an old workbook", b"\xd0\xcf\x11\xe0" + b"\0" * 40),
        ("NUL", good + b"\0"), ("half a character", good + b"\xe4\xbd"), ("no number column", b"a,b\n1,2"),
        ("ten thousand columns", b",".join(b"c%d" % n for n in range(10_000))), ("gzip", b"\x1f\x8b\x08\0junk"),
        ("cells that calculate", head + b'\n"=1+1","@x"'), ("an amount without end", head + b"\n1," + b"9" * 500),
        ("a number without end", head + b"\n" + b"9" * 5_000 + b",1"), ("the same row twice", good + b"\n" + row),
    )  # fmt: skip


def hostile(world: World, name: str, rng: random.Random) -> Iterator[Try]:
    """Hostile requests of one operation, sent by somebody who may call it."""
    operation = operations()[name]
    caller = caller_of(world, operation)
    base = request(world, name, caller)
    base = replace(base, headers={**(caller.headers if caller else world.staff), **base.headers})
    path, _, good = base.path.partition("?")
    for label, query in queries(operation, good, rng):
        yield Try(label, replace(base, path=path + query))
    if "requestBody" not in operation:
        if base.method != "GET":
            yield Try("a body where none is known", replace(base, raw=b'{"a":'))
        return
    signed = WAYS[name].reach == "signed"
    if WAYS[name].table is not None:
        for label, raw in tables(base.raw or b""):
            yield Try(label, replace(base, raw=raw))
        for label, raw, more in wrappings(base.raw or b""):
            yield Try(label, replace(base, raw=raw, headers={**base.headers, **more}))
        return
    body = json.loads(base.raw) if base.raw else base.body
    for label, raw in bodies(body, operation, rng):
        headers = world.signed("A", raw, label.encode("ascii", "replace").decode()) if signed else {}
        yield Try(label, replace(base, raw=raw, body=None, headers={**base.headers, **headers}))
    plain = b"" if body is None else json.dumps(body).encode()
    for label, raw, more in wrappings(plain):
        headers = world.signed("A", raw, label) if signed else {}
        yield Try(label, replace(base, raw=raw, body=None, headers={**base.headers, **headers, **more}))


def tampered(cursor: str) -> Iterator[str]:
    """A cursor with one piece replaced: a character, a number, or a value inside its base64."""
    yield from (cursor + "x", cursor[1:], cursor[:-1], cursor.upper(), cursor * 2, cursor[::-1], " " + cursor)
    for piece in re.findall(r"[0-9]+", cursor):
        for number in ("0", "9" * 9, "9" * 18, "9" * 25, "-1", "\u0663", "1e3", ""):
            yield cursor.replace(piece, number, 1)
    try:
        plain = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        return
    texts = [plain]
    with contextlib.suppress(ValueError):
        values = json.loads(plain)
        for n in range(len(values)):
            for value in VALUES:
                parts = [json.dumps(v) for v in values]
                parts[n] = value
                texts.append("[" + ",".join(parts) + "]")
        texts += ["[]", "{}", json.dumps([*values, 1]), json.dumps(values[:-1]), "[" * 500 + "]" * 500]
    if "|" in plain:
        when, _, number = plain.partition("|")
        texts += [f"{when}|{v}" for v in ("-1", "9" * 18, "9" * 25, "\u0663", "")]
        odd = (
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-14:00",
            "2026-01-01T00:00:00",
            "x",
            "",
            "0001-01-01T00:00:00Z",
        )
        texts += [f"{v}|{number}" for v in odd]
    for text in texts[1:]:
        yield base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")[:490]
        yield base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode()[:490]
