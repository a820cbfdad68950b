"""JSON lines from strangers: one record a line, read one by one so that a damaged line costs its own row."""

from __future__ import annotations

import io
from typing import Any

from connectors import jsonio
from connectors.answers import Answer
from connectors.manifest import Manifest
from hub.kernel.errors import Broken


def json_lines(answer: Answer, manifest: Manifest) -> list[Any]:
    """The records of an answer; empty lines do not count. A line that is not JSON stands there as its text, which no
    mapping takes. Raises Broken when no line at all is an object, when the last one breaks off, or for too many."""
    most = manifest.http.max_rows
    found: list[Any] = []
    objects = 0
    for line in io.BytesIO(answer.body.removeprefix(b"\xef\xbb\xbf")):
        text = line.strip()
        if not text:
            continue
        if len(found) >= most:
            raise Broken(f"{manifest.id} sent more than {most} rows in one page", code="too_many_rows")
        try:
            value = jsonio.loads(text, manifest.http.max_depth)
        except ValueError as error:
            if not line.endswith(b"\n"):
                raise Broken(f"{manifest.id}: the last line breaks off: {error}", code="cut_answer") from None
            value = text[:2000].decode("utf-8", "replace")
        objects += isinstance(value, dict)
        found.append(value)
    if found and not objects:
        raise Broken(f"{manifest.id} answered something that is not JSON lines", code="not_json")
    return found
