"""Proves that a push is the carrier system's own. What it says is read by fulfillment/carriers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connectors.base import Adapter as Base
from hub.kernel.errors import NotFound, Unauthorized


@dataclass(frozen=True, slots=True)
class Called:
    """A verified push, recognised by its bytes: these systems send the whole history of a parcel each time."""

    external_id: str
    number: str = ""
    ended: str = ""
    message: str = ""


class Adapter(Base):
    """One account."""

    answer: Mapping[str, Any] = {"result": "landed"}

    @property
    def source(self) -> str:
        """Whose payloads the pushes are."""
        return str(self.config["carrier"]).strip().lower()

    def called(self, headers: Mapping[str, str], body: bytes) -> Called:
        """Check the signature over the raw bytes, in constant time. Raises NotFound when the account has no secret,
        Unauthorized when no secret of it signed exactly these bytes."""
        value = self.secrets.get("secret")
        secrets = [part for part in (value.get_secret_value() if value else "").split(",") if part]
        if not secrets:
            raise NotFound("there is no such push address", code="no_push")
        wanted = str(self.config["header"]).lower()
        given = next((text.strip() for name, text in headers.items() if name.lower() == wanted), "")
        prefix = str(self.config["prefix"] or "")
        if not given or not given.startswith(prefix):
            raise Unauthorized("the push is not signed", code="bad_signature")
        text = given[len(prefix) :]
        try:
            mac = bytes.fromhex(text) if self.config["encoding"] == "hex" else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            raise Unauthorized("the push's signature cannot be read", code="bad_signature") from None
        good = [
            hmac.compare_digest(hmac.digest(unicodedata.normalize("NFKD", secret).encode(), body, "sha256"), mac)
            for secret in secrets
        ]
        if not any(good):
            raise Unauthorized("the push's signature is wrong", code="bad_signature")
        return Called(hashlib.sha256(body).hexdigest())
