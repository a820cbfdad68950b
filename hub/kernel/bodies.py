"""Request bodies, decompressed here and not by aiohttp, which takes a gzip that was cut short for a whole one. Output
is bounded at every step, so that a small bomb stays small."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hub.kernel.errors import Malformed, TooLarge

PIECE = 256 * 1024  # most bytes handed on at once
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


async def chunks(request: web.Request) -> AsyncIterator[bytes]:
    """The decompressed body in pieces, however long it is; raises Malformed when it is cut short or does not
    decompress, and for an encoding other than gzip and deflate. The application must be made by
    `hub.kernel.web.application`."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity", *_WINDOWS):
        raise Malformed("Content-Encoding is gzip, deflate or absent", code="bad_encoding")
    unzip = zlib.decompressobj(_WINDOWS[encoding]) if encoding in _WINDOWS else None
    try:
        async for raw in request.content.iter_any():
            if unzip is None:
                yield raw
                continue
            while raw:
                if unzip.eof:  # gzip members may follow each other
                    unzip = zlib.decompressobj(_WINDOWS[encoding])
                yield unzip.decompress(raw, PIECE)
                while unzip.unconsumed_tail:
                    yield unzip.decompress(unzip.unconsumed_tail, PIECE)
                raw = unzip.unused_data
    except (HttpProcessingError, web.RequestPayloadError, zlib.error, OSError) as error:
        raise Malformed("the request body is cut short or does not decompress", code="bad_body") from error
    if unzip is not None and not unzip.eof:
        raise Malformed("the compressed request body is cut short", code="bad_body")


async def whole(request: web.Request) -> bytes:
    """The whole decompressed body; raises TooLarge beyond the application's limit, else as `chunks`."""
    limit = request._client_max_size
    parts: list[bytes] = []
    size = 0
    async for part in chunks(request):
        size += len(part)
        if size > limit:
            raise TooLarge("the request body is larger than this server accepts", code="body_too_large")
        parts.append(part)
    return b"".join(parts)
