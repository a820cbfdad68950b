"""A stand-in for a vendor that publishes a product table: a web server with one feed in every format, ETags and
Last-Modified, an optional token, and files that are broken on purpose."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any
from xml.sax.saxutils import escape

from aiohttp import web

from connectors.sandbox_kit import Faults, Sandbox
from hub.kernel import clock

_TYPES = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "jsonl": "application/x-ndjson",
    "xml": "application/xml",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
Row = Mapping[str, Any]


class FeedSandbox(Sandbox):
    """A vendor with these rows (all with the same columns), published as /feed.csv, /feed.tsv, /feed.jsonl,
    /feed.xml (RSS with the `g:` namespace) and /feed.xlsx, each also with .gz behind it. `encoding` applies to CSV
    and TSV. `files` are served as they are below /files/. With `token` set, others get 401.

    `publish` replaces the rows; `conditional` False makes a server that knows no ETag."""

    def __init__(
        self,
        rows: Sequence[Row],
        faults: Faults | None = None,
        *,
        token: str | None = None,
        encoding: str = "utf-8",
        files: Mapping[str, bytes] | None = None,
        conditional: bool = True,
    ) -> None:
        super().__init__(faults)
        self.token = token
        self.conditional = conditional
        self._encoding = encoding
        self._files = dict(files or {})
        self._rows: list[Row] = []
        self._made: dict[str, bytes] = {}
        self._published_at = clock.now()
        self.publish(rows)

    def publish(self, rows: Iterable[Row]) -> None:
        """Put another table in place of the one before."""
        self._rows = list(rows)
        self._made.clear()
        self._published_at = clock.now().replace(microsecond=0)

    def url(self, kind: str = "csv", *, gz: bool = False) -> str:
        """The feed's address in one format, once the server is started."""
        return f"{self.base_url}/feed.{kind}{'.gz' if gz else ''}"

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/feed.{format}", self._feed)
        app.router.add_get("/files/{name}", self._file)

    async def _feed(self, request: web.Request) -> web.Response:
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return self.denied()
        kind = request.match_info["format"]
        if kind.removesuffix(".gz") not in _TYPES:
            return web.Response(status=404)
        body = self._made.get(kind)
        if body is None:
            body = self._made[kind] = render(self._rows, kind.removesuffix(".gz"), self._encoding)
            if kind.endswith(".gz"):
                body = self._made[kind] = gzip.compress(body, mtime=0)
        headers = {}
        if self.conditional:
            tag = '"' + hashlib.blake2b(body, digest_size=8).hexdigest() + '"'
            headers = {"ETag": tag, "Last-Modified": format_datetime(self._published_at, usegmt=True)}
            if request.headers.get("If-None-Match") == tag or self._not_newer(request.headers.get("If-Modified-Since")):
                return web.Response(status=304, headers=headers)
        return web.Response(body=body, content_type=_TYPES[kind.removesuffix(".gz")], headers=headers)

    def _not_newer(self, since: str | None) -> bool:
        if since is None:
            return False
        seen: datetime = parsedate_to_datetime(since)
        return self._published_at <= seen

    async def _file(self, request: web.Request) -> web.Response:
        body = self._files.get(request.match_info["name"])
        return web.Response(body=body) if body is not None else web.Response(status=404)


def render(rows: Sequence[Row], kind: str, encoding: str = "utf-8") -> bytes:
    """The table as one file. Columns are those of the first row."""
    columns = list(rows[0]) if rows else ["id", "title", "price"]
    if kind in ("csv", "tsv"):
        text = io.StringIO()
        writer = csv.writer(text, delimiter="\t" if kind == "tsv" else ",", lineterminator="\r\n")
        writer.writerow(columns)
        writer.writerows([["" if row.get(c) is None else row[c] for c in columns] for row in rows])
        return text.getvalue().encode(encoding)
    if kind == "jsonl":
        return "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows).encode()
    if kind == "xml":
        return _rss(rows).encode()
    return _workbook(rows, columns)


def _rss(rows: Sequence[Row]) -> str:
    items = []
    for row in rows:
        cells = "".join(f"<g:{n}>{escape(str(v))}</g:{n}>" for n, v in row.items() if v is not None)
        items.append(f"<item>{cells}</item>\n")
    head = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>\n'
    )
    return f"{head}<title>Feed</title>\n{''.join(items)}</channel></rss>\n"


def _workbook(rows: Sequence[Row], columns: Sequence[str]) -> bytes:
    import openpyxl  # only a sandbox writes workbooks

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("商品")
    sheet.append(list(columns))
    for row in rows:
        sheet.append([row.get(column) for column in columns])
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()
