"""Bytes from a carrier as plain trees of dict, list, text and number, within caps. JSON, XML (no document type, no
entities), and forms that carry either. JSON inside a JSON text is opened, as several platforms send it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl
from xml.etree.ElementTree import ParseError

import orjson
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import XMLParser

from hub.kernel.errors import Malformed, TooLarge

BYTES = 4 * 2**20
DEPTH = 48
NODES = 100_000
_INNER = 3  # JSON inside JSON inside …
_UNNAMED = frozenset({"data", "datum", "element", "entry", "field", "item", "node", "object", "param", "property"})
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")


def parse(payload: bytes | str | Any) -> Any:
    """The tree in `payload`; something that is no text is taken as a tree already. Raises Malformed and TooLarge."""
    if isinstance(payload, bytes | bytearray | str):
        if len(payload) > BYTES:
            raise TooLarge(f"a payload may be at most {BYTES} bytes", code="payload_too_large")
        payload = _from_text(payload if isinstance(payload, str) else bytes(payload))
    return _Opener().open(payload)


def _from_text(payload: bytes | str) -> Any:
    text = payload if isinstance(payload, str) else _decoded(payload)
    head = text.lstrip("\ufeff \t\r\n")[:1]
    if head == "<":
        return _from_xml(payload if isinstance(payload, bytes) else _DECLARATION.sub("", text.lstrip("\ufeff")))
    if head and head in "{[":
        return _from_json(text)
    if "=" in text[:4000] and head:
        return _from_form(text)
    raise Malformed("the payload is neither JSON nor XML nor a form", code="bad_payload")


def _decoded(payload: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return payload.decode(encoding)
        except UnicodeDecodeError:
            continue
    if payload.lstrip()[:1] == b"<":
        return payload.decode("latin-1")  # the declaration says what it is
    raise Malformed("the payload is not text", code="bad_payload")


def _from_json(text: str) -> Any:
    try:
        return orjson.loads(text.lstrip("\ufeff"))
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        pass
    try:
        return json.loads(text.lstrip("\ufeff"), parse_constant=str, strict=False)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the payload is not JSON: {str(error)[:120]}", code="bad_payload") from None


def _from_form(text: str) -> Any:
    try:
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=200)
    except ValueError:
        raise Malformed("the payload is neither JSON nor XML nor a form", code="bad_payload") from None
    return dict(fields)


class _Opener:
    """Walks a tree once: opens JSON texts inside it, and refuses what is too deep or too large."""

    def __init__(self) -> None:
        self._left = NODES

    def open(self, value: Any, depth: int = 0, inner: int = 0) -> Any:
        self._left -= 1
        if self._left < 0:
            raise TooLarge(f"a payload may hold at most {NODES} values", code="payload_too_large")
        if depth > DEPTH:
            raise TooLarge(f"a payload may be nested at most {DEPTH} deep", code="payload_too_deep")
        if isinstance(value, dict):
            return {_text(str(key)): self.open(item, depth + 1, inner) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.open(item, depth + 1, inner) for item in value]
        if isinstance(value, str):
            found = _inner_tree(value) if inner < _INNER else None
            return self.open(found, depth + 1, inner + 1) if found is not None else _text(value)
        if isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else None
        return None if value is None else _text(str(value))


def _inner_tree(text: str) -> Any:
    """The dict or list that a text holds as JSON, or None."""
    stripped = text.strip()
    if stripped[:1] + stripped[-1:] not in ("{}", "[]") or len(stripped) < 8:
        return None
    try:
        found = orjson.loads(stripped)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None
    return found if isinstance(found, dict | list) else None


def _text(text: str) -> str:
    """Text that a database can hold."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


def _from_xml(payload: bytes | str) -> Any:
    builder = _Builder()
    parser = XMLParser(target=builder, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        for piece in _pieces(payload):
            parser.feed(piece)
        return parser.close()
    except DefusedXmlException:
        raise Malformed("an XML payload may have no document type and no entities", code="bad_payload") from None
    except (ParseError, ValueError, LookupError) as error:
        raise Malformed(f"the payload is not XML: {str(error)[:120]}", code="bad_payload") from None


def _pieces(payload: bytes | str) -> Sequence[bytes | str]:
    """Fed piece by piece, so that a cap strikes before the whole was read."""
    return [payload[at : at + 65_536] for at in range(0, len(payload), 65_536)]


class _Builder:
    """Builds the tree of an XML document: attributes and children become keys, a repeated child becomes a list, an
    element with neither is its text. Namespaces are dropped; an element that says `name="x"` and nothing by its own
    name is called x."""

    def __init__(self) -> None:
        self._stack: list[tuple[str, dict[str, str], dict[str, Any], list[str]]] = []
        self._root: Any = None
        self._left = NODES

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._left -= 1 + len(attributes)
        if self._left < 0:
            raise TooLarge(f"a payload may hold at most {NODES} values", code="payload_too_large")
        if len(self._stack) >= DEPTH:
            raise TooLarge(f"a payload may be nested at most {DEPTH} deep", code="payload_too_deep")
        held = {_local(name): value for name, value in attributes.items() if value != ""}
        name = _local(tag)
        if name.lower() in _UNNAMED and held.get("name"):
            name = held["name"]
        self._stack.append((name, held, {}, []))

    def data(self, text: str) -> None:
        if self._stack:
            self._stack[-1][3].append(text)

    def end(self, _tag: str) -> None:
        name, attributes, held, parts = self._stack.pop()
        text = "".join(parts).strip()
        if not self._stack:
            self._root = {name: {**attributes, **held} or text}
            return
        siblings = self._stack[-1][2]
        if text and not held:  # <status code="DL">Delivered</status>: two fields of what it stands in
            for attribute, value in attributes.items():
                siblings.setdefault(f"{name}-{attribute}", value)
            _add(siblings, name, text)
        else:
            _add(siblings, name, {**attributes, **held} or text)

    def close(self) -> Any:
        return self._root


def _add(siblings: dict[str, Any], name: str, value: Any) -> None:
    """One more child: a repeated name holds a list."""
    if name not in siblings:
        siblings[name] = value
    elif isinstance(siblings[name], list):
        siblings[name].append(value)
    else:
        siblings[name] = [siblings[name], value]


def _local(name: str) -> str:
    return name.rpartition("}")[2].rpartition(":")[2]
