"""Conditional GET (RFC 9110, section 13). A client that says which answer it has (`If-None-Match`) is told that it is
still good by a 304 without a body. Tags are weak: answers that say the same at different times (`as_of`) share one."""

from __future__ import annotations

import base64
import hashlib
import re

from aiohttp import web

_AS_OF = re.compile(rb'(?:,"(?:[a-z]{1,20}_)?as_of":"[^"]{1,40}"){1,2}\}\Z')
_AS_OF_SPAN = 200  # bytes at the end of an answer within which these fields are
# The answer depends on whose key it was, and whoever keeps it must ask whether it is still good.
_KEEPING = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


def tag_of(body: bytes) -> str:
    """The tag of a JSON answer whose last field is `as_of`, perhaps after the `…_as_of` of a part: neither counts. For
    answers that no version stands for: what they say also changes with time alone (stock goes stale, slots pass)."""
    end = _AS_OF.search(body, max(0, len(body) - _AS_OF_SPAN))
    digest = hashlib.blake2b(body[: end.start()] if end is not None else body, digest_size=12).digest()
    return f'W/"{base64.urlsafe_b64encode(digest).decode()}"'


def known_tags(request: web.Request) -> frozenset[str]:
    """The opaque part of each tag that the client has; `*` stands for any."""
    given = ",".join(request.headers.getall("If-None-Match", ()))
    return frozenset(tag for part in given.split(",") if (tag := part.strip().removeprefix("W/").strip('"')))


def answer(request: web.Request, body: bytes, tag: str) -> web.Response:
    """200 with the body and its tag, or 304 when the client has it already."""
    headers = {"ETag": tag, **_KEEPING}
    if "If-None-Match" in request.headers:
        known = known_tags(request)
        if "*" in known or tag.removeprefix("W/").strip('"') in known:
            return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers=headers, content_type="application/json")
