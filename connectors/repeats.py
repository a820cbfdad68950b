"""Paged lists that tell no total and no lasting order. A row that comes twice stands where another should: such a pull
is not complete, and takes nothing off sale. A page that comes again word for word is a list that stopped moving."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from connectors.contracts import Cursor, Page
from connectors.declarative import PullsByManifest
from hub.kernel.errors import Broken


class NoticesRepeats(PullsByManifest):
    """A pull by manifest that counts rows which come twice. `expand` calls `note` with what tells a page's rows apart
    (the answers themselves may differ by ticket and time), and `taken` for each SKU."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._begin({})

    def _begin(self, since: Cursor) -> None:
        self._owners: dict[str, str] = {}  # SKU -> what came with it first
        self._rows: set[str] = set()
        self._pages: list[str] = list(since.get("pages", ()))  # fingerprints; they outlive a resumption, rows do not
        self._twice = int(since.get("twice", 0))

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """As the manifest says. Raises Broken at the end when rows came twice: as many may be missing."""
        self._begin(since or {})
        async with contextlib.aclosing(super().pull(since)) as pages:
            async for page in pages:
                if page.complete and self._twice:
                    yield page.model_copy(update={"complete": False, "cursor": {}})
                    raise Broken(
                        f"{self.manifest.id} sent {self._twice} rows twice: as many may be missing", code="rows_missing"
                    )
                own = {"pages": list(self._pages), "twice": self._twice}
                yield page.model_copy(update={"cursor": {**(page.cursor or {}), **own}})

    def note(self, rows: Sequence[str]) -> None:
        """Remember a page's rows; raises Broken when these very rows were a page before, also before a resumption."""
        if not rows:
            return
        print_ = hashlib.blake2b("\n".join(sorted(rows)).encode(), digest_size=8).hexdigest()
        if print_ in self._pages:
            raise Broken(f"{self.manifest.id} sent a page again for page {len(self._pages) + 1}", code="page_repeated")
        self._pages.append(print_)
        self._twice += len(rows) - len(set(rows) - self._rows)
        self._rows |= set(rows)

    def taken(self, sku: str, owner: str) -> str | None:
        """Who came with this SKU before, if it was another."""
        first = self._owners.setdefault(sku, owner)
        return first if first != owner else None
