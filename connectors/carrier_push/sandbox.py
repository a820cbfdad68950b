"""A stand-in for a service that pushes: nothing of it is ever called, so it only signs."""

from __future__ import annotations

import hmac

from aiohttp import web

from connectors.sandbox_kit import Delivery, Sandbox

SIGNED_WITH = "sandbox-webhook-secret"
HEADER, PREFIX = "X-Hmac-Signature", "hmac-sha256-hex="


class PusherSandbox(Sandbox):
    """Signs as EasyPost does."""

    def routes(self, app: web.Application) -> None:
        """It has none."""

    @staticmethod
    def push(body: bytes, secret: str = SIGNED_WITH) -> Delivery:
        """These bytes as they would be pushed."""
        mac = hmac.digest(secret.encode(), body, "sha256").hex()
        return Delivery({HEADER: PREFIX + mac, "Content-Type": "application/json"}, body)
