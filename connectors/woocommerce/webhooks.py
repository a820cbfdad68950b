"""The sandbox shop's webhooks: signed as WooCommerce signs them, delivered in the background, doubled or shuffled on
demand. Like the real ones they are sent once: a delivery that nobody acknowledges is kept in `undelivered`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import aiohttp
import orjson

from connectors.sandbox_kit import Delivery, Faults, Sandbox
from hub.kernel import clock


class SendsWebhooks(Sandbox):
    """A sandbox that tells a URL what happens in it."""

    def __init__(self, faults: Faults | None, secret: str, to: str | None) -> None:
        super().__init__(faults)
        self.webhook_secret = secret
        self.webhooks_to = to
        self.undelivered: list[Delivery] = []  # deliveries that nobody acknowledged
        self.delivered = 0
        self._waiting: list[Delivery] = []
        self._sender: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    def delivery(self, topic: str, resource: Mapping[str, Any]) -> Delivery:
        """A signed delivery of `resource` as it is now."""
        body = orjson.dumps(resource)
        kind, _, event = topic.partition(".")
        webhook_id = {"product": 3, "order": 1}[kind] + (event == "updated")
        second = int(clock.now().timestamp())
        signature = base64.b64encode(hmac.digest(self.webhook_secret.encode(), body, "sha256")).decode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "WooCommerce/7.9.0 Hookshot (WordPress/6.1.9)",
            "X-WC-Webhook-Source": f"{self.base_url}/",
            "X-WC-Webhook-Topic": topic,
            "X-WC-Webhook-Resource": kind,
            "X-WC-Webhook-Event": event,
            "X-WC-Webhook-Signature": signature,
            "X-WC-Webhook-ID": str(webhook_id),
            "X-WC-Webhook-Delivery-ID": hashlib.md5(f"{webhook_id}{second}".encode()).hexdigest(),  # noqa: S324
        }
        return Delivery(headers, body)

    @staticmethod
    def ping() -> Delivery:
        """What WooCommerce sends when a webhook is saved: a form, not signed."""
        return Delivery({"Content-Type": "application/x-www-form-urlencoded"}, b"webhook_id=4")

    async def flush_webhooks(self) -> None:
        """Wait until every webhook so far was tried."""
        while self._waiting or (self._sender is not None and not self._sender.done()):
            if self._sender is None or self._sender.done():
                self._sender = asyncio.create_task(self._deliver())
            await asyncio.gather(self._sender, return_exceptions=True)

    def push(self, topic: str, resource: Mapping[str, Any]) -> None:
        if self.webhooks_to is None:
            return
        self._waiting.append(self.delivery(topic, resource))
        if self._sender is None or self._sender.done():
            with contextlib.suppress(RuntimeError):  # no loop: flush_webhooks sends later
                self._sender = asyncio.get_running_loop().create_task(self._deliver())

    async def _deliver(self) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        while self._waiting and self.webhooks_to is not None:
            batch, self._waiting = self._waiting, []
            if self.faults.shuffle_webhooks:
                batch.reverse()
            for push in batch:
                for _ in range(2 if self.faults.duplicate_webhooks else 1):
                    try:
                        async with self._session.post(self.webhooks_to, data=push.body, headers=push.headers) as answer:
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
        if self._session is not None:
            await self._session.close()
            self._session = None
        await super().stop()
