"""What YAML cannot say of Ele.me: the command and its JSON in form fields, items that hold specifications, and stock at
the largest number that can be written. README.md says what this was verified against."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import httpx
import orjson
from pydantic import SecretStr

from connectors.answers import Answer
from connectors.base import Known
from connectors.calling import Caller
from connectors.contracts import BadRow, Cursor, Page
from connectors.eleme_retail.items import Refused, sellable
from connectors.jsonio import text_of
from connectors.manifest import Manifest
from connectors.mapping import bad_row
from connectors.paging import PageOfRecords
from connectors.pieces import FromConfig, SecretRef
from connectors.repeats import NoticesRepeats
from hub.kernel.errors import Misconfigured


class Adapter(NoticesRepeats):
    """One shop."""

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
        manifest = agreed(manifest, config, secrets)
        super().__init__(manifest, config, secrets, http, connection_id=connection_id, known=known)
        self.call = Commands(self.manifest, self.config, self.secrets, http, connection_id)

    async def pull(self, since: Cursor | None) -> AsyncGenerator[Page, None]:
        """As the manifest says, of the shop that the settings name."""
        if not self.config["shop_id"] and not self.config["platform_shop_id"]:
            raise Misconfigured("eleme_retail needs the setting 'shop_id' or 'platform_shop_id'", code="bad_config")
        async with contextlib.aclosing(super().pull(since)) as pages:
            async for page in pages:
                yield page

    async def expand(self, got: PageOfRecords, bad: list[BadRow]) -> Sequence[Any]:
        """One record for each thing that can be bought."""
        self.note([identity(record) for record in got.records])
        ready: list[Any] = []
        shop = str(self.config["shop_id"] or self.config["platform_shop_id"])
        for record in got.records:
            if not isinstance(record, dict):
                ready.append(record)  # the mapping refuses it
                continue
            for one in sellable(record):
                if isinstance(one, Refused):
                    bad.append(bad_row(record, one.reason, one.pointer, one.sku))
                elif first := self.taken(one["_sku"], one["_id"] or ""):
                    reason = f"the shop gave the code {one['_sku'][:80]!r} to item {first} already"
                    bad.append(bad_row(record, reason, "/custom_sku_id", one["_sku"]))
                else:
                    ready.append({**one, "_shop": shop})
        return ready


class Commands(Caller):
    """Parameters of a command go as JSON into the form field `body`, beside `cmd`; the signature covers both."""

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        form: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        if form is not None and "cmd" not in form:
            said = orjson.dumps(dict(form), option=orjson.OPT_SORT_KEYS).decode()
            form = {"cmd": self._manifest.options["cmd"], "body": said}
        return await super().ask(method, path, body, form=form, params=params, headers=headers)


def identity(record: Any) -> str:
    """What tells a row from others: Ele.me's own id, or all of it."""
    number = record.get("sku_id") if isinstance(record, dict) else None
    return f"{number}" if isinstance(number, str | int) and number != "" else text_of(record)


def agreed(manifest: Manifest, config: Mapping[str, Any], secrets: Mapping[str, SecretStr]) -> Manifest:
    """The manifest, signing as this connection's platform account wants it."""
    assert manifest.auth is not None and manifest.auth.signed is not None
    changed: dict[str, Any] = {}
    if config.get("sign_case") == "lower":
        changed["digest"] = "hex"
    params = dict(manifest.auth.signed.params)
    if config.get("encrypt"):
        params["encrypt"] = FromConfig(config="encrypt")
    token = secrets.get("access_token")
    if token is not None and token.get_secret_value():
        params["access_token"] = SecretRef(secret="access_token")  # noqa: S106 - a name
    signed = manifest.auth.signed.model_copy(update={**changed, "params": params})
    return manifest.model_copy(update={"auth": manifest.auth.model_copy(update={"signed": signed})})
