"""What YAML cannot say of Meituan: products that hold SKUs, lists that come as text, pages that are counted in whole
pages, and stock that is only sometimes a number. README.md says what this was verified against."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import httpx
import orjson
from pydantic import SecretStr

from connectors.answers import Answer
from connectors.base import Known
from connectors.calling import Caller
from connectors.contracts import BadRow, Cursor, Page
from connectors.declarative import PullsByManifest
from connectors.jsonio import text_of
from connectors.manifest import Manifest
from connectors.mapping import bad_row
from connectors.meituan_retail.records import Refused, medicine, products_skus
from connectors.paging import PageOfRecords
from connectors.pieces import SecretRef
from hub.kernel.errors import Broken


class Adapter(PullsByManifest):
    """One store."""

    def __init__(
        self,
        manifest: Manifest,
        config: Mapping[str, Any],
        secrets: Mapping[str, SecretStr],
        http: httpx.AsyncClient | None = None,
        *,
        connection_id: int | str = "unsaved",
        known: Known | None = None,
    ) -> None:
        manifest = granted(manifest, secrets)
        super().__init__(manifest, config, secrets, http, connection_id=connection_id, known=known)
        self.call = WholePages(manifest, self.config, self.secrets, http, connection_id)
        # Of the pull under way:
        self._owners: dict[str, str] = {}  # SKU -> the product that came with it
        self._rows: set[str] = set()
        self._twice = 0  # rows that came a second time
        self._pages: list[str] = []  # fingerprints

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """As the manifest says. A row that comes twice stands where another should: the pull is then not complete."""
        self._owners, self._rows = {}, set()
        self._pages, self._twice = list((since or {}).get("pages", ())), int((since or {}).get("twice", 0))
        async with contextlib.aclosing(super().pull(since)) as pages:
            async for page in pages:
                if page.complete and self._twice:
                    yield page.model_copy(update={"complete": False, "cursor": {}})
                    raise Broken(
                        f"{self.manifest.id} sent {self._twice} rows twice: as many may be missing", code="rows_missing"
                    )
                own = {"pages": list(self._pages), "twice": self._twice}
                yield page.model_copy(update={"cursor": {**(page.cursor or {}), **own}})

    async def expand(self, got: PageOfRecords, bad: list[BadRow]) -> Sequence[Any]:
        """One record for each SKU that can be ordered by a code."""
        self._note([identity(unpacked(record)) for record in got.records])
        ready: list[Any] = []
        for given in got.records:
            record = unpacked(given)
            if not isinstance(record, dict):
                ready.append(given)  # the mapping refuses it
                continue
            found = [medicine(record)] if self.config["kind"] == "medicine" else products_skus(record)
            for one in found:
                if isinstance(one, Refused):
                    bad.append(bad_row(record, one.reason, one.pointer, one.sku))
                elif self._taken(one):
                    reason = f"the store gave the code {one['_sku'][:80]!r} to {self._owners[one['_sku']]!r} already"
                    bad.append(bad_row(record, reason, "/skus/sku_id", one["_sku"]))
                else:
                    ready.append(one)
        return ready

    def _note(self, rows: list[str]) -> None:
        """Remember a page's rows; raises Broken when these very rows were a page before, also before a resumption."""
        if not rows:
            return
        print_ = hashlib.blake2b("\n".join(sorted(rows)).encode(), digest_size=8).hexdigest()
        if print_ in self._pages:
            raise Broken(f"{self.manifest.id} sent a page again for page {len(self._pages) + 1}", code="page_repeated")
        self._pages.append(print_)
        self._twice += len(rows) - len(set(rows) - self._rows)
        self._rows |= set(rows)

    def _taken(self, record: Mapping[str, Any]) -> bool:
        """Whether another SKU came with this code before."""
        sku, owner = record["_sku"], f"{record['_family'] or ''} {record['_title']}".strip()[:100]
        return self._owners.setdefault(sku, owner) != owner


class WholePages(Caller):
    """Meituan reads `offset` as a page: offset / limit, without the rest, plus one. After a page that came short an
    offset by rows would ask for the same page again, so the offset goes up to the next whole page."""

    async def get(
        self, path: str, params: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        asked = dict(params or {})
        if "offset" in asked and "limit" in asked:
            limit = int(asked["limit"])
            asked["offset"] = -(-int(asked["offset"]) // limit) * limit
        answer = await super().get(path, asked, headers)
        body = answer.json(self._manifest)
        if isinstance(body, dict) and isinstance(body.get("data"), str):
            body["data"] = unpacked(body["data"])
        return answer


def granted(manifest: Manifest, secrets: Mapping[str, SecretStr]) -> Manifest:
    """The manifest, with the store's token among the signed parameters where the connection has one."""
    token = secrets.get("access_token")
    if token is None or not token.get_secret_value():
        return manifest
    assert manifest.auth is not None and manifest.auth.signed is not None
    params = {**manifest.auth.signed.params, "access_token": SecretRef(secret="access_token")}  # noqa: S106 - a name
    signed = manifest.auth.signed.model_copy(update={"params": params})
    return manifest.model_copy(update={"auth": manifest.auth.model_copy(update={"signed": signed})})


def identity(record: Any) -> str:
    """What tells a row from others: the store's code of it, or all of it."""
    if isinstance(record, dict):
        for name in ("app_spu_code", "app_food_code", "app_medicine_code"):
            if isinstance(record.get(name), str | int) and record[name] != "":
                return f"{name}={record[name]}"
    return text_of(record)


def unpacked(value: Any) -> Any:
    """Lists and objects that came as JSON text; anything else as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value
