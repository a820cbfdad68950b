"""Request bodies, decompressed here and not by aiohttp, which takes a gzip that was cut short for a whole one. Output
is bounded at every step, so that a small bomb stays small."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hub.kernel.errors import Malformed, TooLarge
from hub.kernel.settings import settings

PIECE = 256 * 1024  # most bytes handed on at once
# Nothing that anybody writes down shrinks to less than this part of itself: real lists of stock shrink to a tenth, and
# what shrinks to a hundredth is the same line over and over. zlib can do 1:1032.
_DENSEST = 200
_HARMLESS = 8 * 2**20  # a bomb that never gets larger than this is none
_SLICE = 16 * 1024
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


async def chunks(request: web.Request) -> AsyncIterator[bytes]:
    """The decompressed body in pieces. Raises Malformed when it is cut short or does not decompress, and for an
    encoding other than gzip and deflate; TooLarge beyond `upload_limit_bytes` and for what unpacks to far more than
    any list would. The application must be made by `hub.kernel.web.application`."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity", *_WINDOWS):
        raise Malformed("Content-Encoding is gzip, deflate or absent", code="bad_encoding")
    limit = settings().upload_limit_bytes
    unzip = zlib.decompressobj(_WINDOWS[encoding]) if encoding in _WINDOWS else None
    packed = unpacked = 0
    try:
        async for given in request.content.iter_any():
            if unzip is None:
                packed += len(given)
                if packed > limit:
                    raise _too_large(limit)
                yield given
                continue
            at = 0
            raw = b""
            while raw or at < len(given):
                if not raw:  # a little at a time, so that a bomb shows before much of it was unpacked
                    raw = given[at : at + _SLICE]
                    at += len(raw)
                    packed += len(raw)
                if unzip.eof:  # gzip members may follow each other
                    unzip = zlib.decompressobj(_WINDOWS[encoding])
                piece = unzip.decompress(raw, PIECE)
                while True:
                    unpacked += len(piece)
                    if unpacked > limit:
                        raise _too_large(limit)
                    if unpacked > _HARMLESS and unpacked > packed * _DENSEST:
                        raise TooLarge(
                            f"the compressed body unpacks to more than {_DENSEST} times its size; send it plain",
                            code="bomb",
                        )
                    yield piece
                    if not unzip.unconsumed_tail:
                        break
                    await asyncio.sleep(0)  # a small piece may unpack to a large one; others want to be served too
                    piece = unzip.decompress(unzip.unconsumed_tail, PIECE)
                raw = unzip.unused_data
    except (HttpProcessingError, web.RequestPayloadError, zlib.error, OSError) as error:
        raise Malformed("the request body is cut short or does not decompress", code="bad_body") from error
    if unzip is not None and not unzip.eof:
        raise Malformed("the compressed request body is cut short", code="bad_body")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"an upload may be {limit // 2**20} MiB when unpacked; send the rest in another call. What came before is "
        "applied, and sending it again changes nothing",
        code="body_too_large",
    )


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
