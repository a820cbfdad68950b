"""XML read as a stream: product feeds (RSS, Atom, with or without Google's `g:` prefix) become records, and the
parts of an XLSX reuse the same guarded parser. A document type declaration is refused outright, which rules out
external entities and entity bombs; depth and the size of one element are capped."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import IO
from xml.parsers import expat

from connectors.tables.limits import Limits, too_large, unreadable
from connectors.tables.records import Record, trouble

_CHUNK = 64 * 1024
_CUT_OFF = {
    expat.errors.XML_ERROR_NO_ELEMENTS,
    expat.errors.XML_ERROR_UNCLOSED_TOKEN,
    expat.errors.XML_ERROR_PARTIAL_CHAR,
    expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
}
Attributes = dict[str, str]


def parse(
    chunks: Iterator[bytes | str],
    *,
    start: Callable[[str, Attributes], None],
    end: Callable[[str], None],
    text: Callable[[str], None],
    limits: Limits,
) -> Iterator[None]:
    """Feed a document through expat with its doors shut; yields after each chunk so that handlers' results can be
    taken away. Names arrive as `namespace}local`. Raises Malformed for anything that is not well-formed, any
    document type declaration and any entity of its own."""
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True

    def refuse(*_: object) -> None:
        raise unreadable("the XML declares a document type or entities; neither is accepted", "xml_doctype")

    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.UnparsedEntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = lambda *_: 0
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    fed = 0
    try:
        for chunk in chunks:
            fed += len(chunk)
            parser.Parse(chunk, False)
            if fed - parser.CurrentByteIndex > limits.record_bytes + _CHUNK:  # one tag or comment without end
                raise too_large(f"an XML tag is larger than {limits.record_bytes} bytes", "record_too_large")
            yield
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        code = "truncated_xml" if expat.errors.messages[error.code] in _CUT_OFF else "bad_xml"
        raise unreadable(f"the XML is not well-formed: {error}", code) from error
    except UnicodeEncodeError as error:
        raise unreadable("the XML holds bytes that are not text in its encoding", "bad_xml") from error
    yield


class _Items:
    """Collects the leaf elements below each record element; knows nothing of files."""

    def __init__(self, record: str | None, limits: Limits, told_apart: frozenset[str] = frozenset()) -> None:
        self.done: deque[dict[str, str]] = deque()
        self._record = tuple(record.strip("/").split("/")) if record else ()
        self._from_root = bool(record) and str(record).startswith("/")
        self._limits = limits
        self._told_apart = told_apart
        self._path: list[str] = []
        self._attributes: list[Attributes] = []  # of the elements we are in, while we are in a record
        self._texts: list[str] = []
        self._at: int | None = None  # depth of the record element we are in
        self._fields: dict[str, str] = {}
        self._size = 0
        self._leaf = False

    def start(self, name: str, attributes: Attributes) -> None:
        local = name.rpartition("}")[2]
        self._path.append(local)
        if len(self._path) > self._limits.depth:
            raise too_large(f"the XML is nested more than {self._limits.depth} levels deep", "xml_too_deep")
        if self._at is None and self._is_record(local):
            self._at, self._fields, self._size = len(self._path), {}, 0
        if self._at is not None:
            own = {key.rpartition("}")[2]: value for key, value in attributes.items()}
            for key, value in own.items():
                self._put(f"{self._name()}@{key}", value)
            self._attributes.append(own)
        self._texts.clear()
        self._leaf = True

    def text(self, data: str) -> None:
        if self._at is not None:
            self._grow(len(data))
            self._texts.append(data)

    def end(self, name: str) -> None:
        if self._at is not None:
            if len(self._path) == self._at:
                self.done.append(self._fields)
                self._at = None
            else:
                value = "".join(self._texts).strip()
                if value or self._leaf:  # an empty leaf keeps its place among its equals
                    self._put(self._name(), value)
                    self._tell_apart(value)
            self._attributes.pop()
        self._leaf = False
        self._texts.clear()
        self._path.pop()

    def _is_record(self, local: str) -> bool:
        if not self._record:
            return local in ("item", "entry")
        if local != self._record[-1] or (self._from_root and len(self._path) != len(self._record)):
            return False
        return tuple(self._path[-len(self._record) :]) == self._record

    def _tell_apart(self, value: str) -> None:
        """Equals that differ in an attribute, such as `<price type="net">`, by the names that a mapping asks for."""
        for key, said in self._attributes[-1].items() if self._told_apart else ():
            name = f"{self._name()}[@{key}={said}]"
            if name in self._told_apart and name not in self._fields:
                self._put(name, value)

    def _name(self) -> str:
        return ".".join(self._path[self._at :])

    def _put(self, name: str, value: str) -> None:
        unique, count = name, 1
        while unique in self._fields:
            count += 1
            unique = f"{name}[{count}]"
            if count > self._limits.columns:
                break
        self._fields[unique] = value
        self._grow(len(unique) + 16)
        if len(self._fields) > self._limits.columns:
            raise too_large(f"an XML record has more than {self._limits.columns} fields", "too_many_columns")

    def _grow(self, by: int) -> None:
        self._size += by
        if self._size > self._limits.record_bytes:
            raise too_large(f"an XML record is larger than {self._limits.record_bytes} bytes", "record_too_large")


def records(
    file: IO[bytes],
    limits: Limits,
    *,
    record: str | None = None,
    encoding: str | None = None,
    wanted: frozenset[str] = frozenset(),
) -> Iterator[Record]:
    """Records of an XML feed: each `item` or `entry` with its leaf elements by local name, nested ones dotted
    (`shipping.price`), repeated ones numbered (`additional_image_link[2]`), attributes as `name@key`, the record's own
    as `@key`. `record` is another element's name, or its path: `products/product` anywhere, `/shop/products/product`
    from the root. `wanted` names such as `price[@type=net]` pick one of equals by an attribute."""
    items = _Items(record, limits, frozenset(name for name in wanted if "[@" in name))
    number = 0
    for _ in parse(_chunks(file, encoding), start=items.start, end=items.end, text=items.text, limits=limits):
        while items.done:
            fields = items.done.popleft()
            number += 1
            if number > limits.rows:
                raise too_large(f"the feed has more than {limits.rows} records", "too_many_rows")
            yield Record(number, fields, trouble(fields.values(), limits))


def _chunks(file: IO[bytes], encoding: str | None) -> Iterator[bytes | str]:
    """The document in pieces: as bytes where expat knows the encoding itself, decoded where it does not (GBK)."""
    file.seek(0)
    head = file.read(512)
    file.seek(0)
    declared = re.match(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""", head)
    name = encoding or (declared[1].decode("ascii") if declared else "")
    if not name or name.lower().replace("_", "-") in ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "utf-16"):
        while data := file.read(_CHUNK):
            yield data
        return
    try:
        decoder = codecs.getincrementaldecoder(name)()
        b"x".decode(name, "ignore")
    except LookupError as error:
        raise unreadable(f"the XML declares the unknown encoding {name!r}", "unknown_encoding") from error
    try:
        while data := file.read(_CHUNK):
            yield decoder.decode(data)
        yield decoder.decode(b"", True)
    except UnicodeDecodeError as error:
        raise unreadable(f"the XML is not text in its declared encoding {name}", "bad_xml") from error
