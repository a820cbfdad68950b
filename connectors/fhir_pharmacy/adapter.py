"""Speaks FHIR R5 to a pharmacy: its MedicationKnowledge is the catalogue, its InventoryReports are the stock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from pydantic import SecretStr

from connectors.auths import Auth, BasicAuth, Token
from connectors.base import Known
from connectors.credentials import Credentials
from connectors.fhir_pharmacy.stock import PullsInventory
from connectors.manifest import FromConfig, Manifest, SecretRef
from hub.kernel.errors import Misconfigured


class Adapter(PullsInventory):
    """A connection to one pharmacy's FHIR server."""

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
        super().__init__(manifest, config, secrets, http, connection_id=connection_id, known=known)
        own = manifest.model_copy(update={"auth": _auth(self.config, self.secrets)})
        self.call.credentials = Credentials(own, self.config, self.secrets)


def _auth(config: Mapping[str, Any], secrets: Mapping[str, SecretStr]) -> Auth:
    """The connection's way to say who calls: the access token that it holds, else OAuth2 client credentials. Raises
    Misconfigured when it has half of what the latter needs."""
    bearer = secrets.get("token")
    if bearer is not None and bearer.get_secret_value():
        return Auth(bearer=SecretRef(secret="token"))  # noqa: S106 - the name of a secret
    missing = [name for name in ("token_url", "client_id") if not config.get(name)]
    if missing and len(missing) < 2:
        raise Misconfigured(f"client credentials need the setting {missing[0]!r} too", code="bad_config")
    if missing:
        return Auth(bearer=SecretRef(secret="token"))  # noqa: S106 - asked for by name when the first call goes out
    return Auth(
        token=Token(
            post=str(config["token_url"]),
            form={"grant_type": "client_credentials", "scope": FromConfig(config="scope")},
            basic=BasicAuth(user=FromConfig(config="client_id"), password=SecretRef(secret="client_secret")),  # noqa: S106
            read="access_token",
            expires="expires_in",
        )
    )
