"""How a feed's server is told who asks: by the setting `auth`, in a manifest's own words, or by the plain secrets
`token` (Bearer) and `password` (Basic)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import SecretStr, ValidationError

from connectors.calling import Caller
from connectors.credentials import Draft
from connectors.described import foreign_urls
from connectors.manifest import Manifest
from hub.kernel.egress import check_url
from hub.kernel.errors import Fault, Misconfigured


class FeedCaller(Caller):
    """A caller whose credential is lent to a download that somebody else makes."""

    @property
    def base_url(self) -> str:
        """Where the feed is, for the brakes of a connection that is not saved yet."""
        return str(self._config.get("url") or self._config.get("host") or "file")

    async def lend(self, draft: Draft) -> None:
        """Put the connection's credential on a request. A signature covers the parameters of the feed's own address."""
        url = httpx.URL(draft.url)
        if url.query and self._manifest.auth is not None and self._manifest.auth.signed is not None:
            draft.query = {**dict(url.params), **draft.query}
            draft.url = str(url.copy_with(query=None))
        await self.credentials.put_on(draft, self.guard().purse, self._out, self._token_url)

    def _token_url(self, given: str) -> str:
        return str(httpx.URL(self.base_url).join(self.fill(given)))


def feed_caller(
    manifest: Manifest,
    config: Mapping[str, Any],
    secrets: Mapping[str, SecretStr],
    http: httpx.AsyncClient | None,
    connection_id: int | str,
) -> FeedCaller:
    """The caller of a feed connection; raises Misconfigured for an `auth` that says nothing usable."""
    described = manifest.model_copy(update={"auth": None})
    said = config.get("auth") or _plain(secrets)
    if said:
        whole = {**manifest.model_dump(by_alias=True, exclude_unset=True), "auth": said}
        try:
            described = Manifest.model_validate(whole)
        except ValidationError as error:
            faults = tuple(
                Fault("".join(f"/{part}" for part in ("config", *fault["loc"]))[:200], fault["msg"])
                for fault in error.errors(include_url=False, include_context=False, include_input=False)
            )
            detail = "; ".join(fault.detail for fault in faults)
            raise Misconfigured(f"auth: {detail}"[:1000], code="bad_config", faults=faults) from None
        for url in foreign_urls(described):
            check_url(url)
    user = config.get("user") or ""
    return FeedCaller(described, {**config, "user": user}, secrets, http, connection_id)


def _plain(secrets: Mapping[str, SecretStr]) -> dict[str, Any] | None:
    if "token" in secrets and secrets["token"].get_secret_value():
        return {"bearer": {"secret": "token"}}
    if "password" in secrets and secrets["password"].get_secret_value():
        return {"basic": {"user": {"config": "user"}, "password": {"secret": "password"}}}
    return None
