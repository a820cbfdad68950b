"""The sandbox shop's webhooks: signed as Shopify signs them, delivered in the background, doubled or shuffled on
demand. A delivery that nobody acknowledges is kept in `undelivered`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import uuid
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from connectors.sandbox_kit import Delivery, Faults, Sandbox


class SendsWebhooks(Sandbox):
    """A sandbox that tells a URL what happens in it."""

    def __init__(self, faults: Faults | None, secret: str, to: str | None, api_version: str) -> None:
        super().__init__(faults)
        self.webhook_secret = secret
        self.webhooks_to = to
        self.api_version = api_version
        self.undelivered: list[Delivery] = []
        self.delivered = 0
        self._waiting: list[Delivery] = []
        self._sender: asyncio.Task[None] | None = None

    def delivery(self, topic: str, payload: Mapping[str, Any]) -> Delivery:
        """A signed delivery. Two deliveries of one thing have different ids; one that is repeated keeps its own."""
        body = orjson.dumps(payload)
        digest = hmac.digest(self.webhook_secret.encode(), body, "sha256")
        headers = {
            "Content-Type": "application/json",
            "X-Shopify-Topic": topic,
            "X-Shopify-Hmac-Sha256": base64.b64encode(digest).decode(),
            "X-Shopify-Shop-Domain": "example.myshopify.com",
            "X-Shopify-API-Version": self.api_version,
            "X-Shopify-Webhook-Id": str(uuid.uuid4()),
            "X-Shopify-Event-Id": str(uuid.uuid4()),
        }
        return Delivery(headers, body)

    def push(self, topic: str, payload: Mapping[str, Any]) -> None:
        """Deliver in the background, when there is an address to deliver to."""
        if self.webhooks_to is None:
            return
        self._waiting.append(self.delivery(topic, payload))
        if self._sender is None or self._sender.done():
            with contextlib.suppress(RuntimeError):  # no loop: flush_webhooks sends later
                self._sender = asyncio.get_running_loop().create_task(self._deliver())

    async def flush_webhooks(self) -> None:
        """Wait until every webhook so far was tried."""
        while self._waiting or (self._sender is not None and not self._sender.done()):
            if self._sender is None or self._sender.done():
                self._sender = asyncio.create_task(self._deliver())
            await asyncio.gather(self._sender, return_exceptions=True)

    async def _deliver(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            while self._waiting and self.webhooks_to is not None:
                batch, self._waiting = self._waiting, []
                if self.faults.shuffle_webhooks:
                    batch.reverse()
                for push in batch:
                    for _ in range(2 if self.faults.duplicate_webhooks else 1):
                        await self._try(session, push, self.webhooks_to)

    async def _try(self, session: aiohttp.ClientSession, push: Delivery, to: str) -> None:
        try:
            async with session.post(to, data=push.body, headers=push.headers) as answer:
                good = answer.status < 300
        except (aiohttp.ClientError, TimeoutError):
            good = False
        if good:
            self.delivered += 1
        else:
            self.undelivered.append(push)

    async def stop(self) -> None:
        """Close the shop."""
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        await super().stop()
