"""What YAML cannot say of Meituan: products that hold SKUs, lists that come as text, pages that are counted in whole
pages, and stock that is only sometimes a number. README.md says what this was verified against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import orjson
from pydantic import SecretStr

from connectors.answers import Answer
from connectors.base import Known
from connectors.calling import Caller
from connectors.contracts import BadRow
from connectors.jsonio import text_of
from connectors.manifest import Manifest
from connectors.mapping import bad_row
from connectors.meituan_retail.records import Refused, medicine, products_skus
from connectors.paging import PageOfRecords
from connectors.pieces import SecretRef
from connectors.repeats import NoticesRepeats


class Adapter(NoticesRepeats):
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

    async def expand(self, got: PageOfRecords, bad: list[BadRow]) -> Sequence[Any]:
        """One record for each SKU that can be ordered by a code."""
        self.note([identity(unpacked(record)) for record in got.records])
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
                elif first := self.taken(one["_sku"], f"{one['_family'] or ''} {one['_title']}".strip()[:100]):
                    reason = f"the store gave the code {one['_sku'][:80]!r} to {first!r} already"
                    bad.append(bad_row(record, reason, "/skus/sku_id", one["_sku"]))
                else:
                    ready.append(one)
        return ready


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
