"""Outgoing webhooks after the Standard Webhooks specification (github.com/standard-webhooks): what a tenant is told, to
which addresses, signed with which secret. Telling is part of the transaction in which the thing happened; sending is
`hub.kernel.webhook_lanes`, later and elsewhere.

A message is thin: what it is about and how that stands now, never personal data. It may come twice (same `webhook-id`)
and out of order (compare `timestamp`)."""

from __future__ import annotations

import base64
import secrets as random
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import httpx
import orjson
from standardwebhooks import Webhook

from hub.kernel import secrets
from hub.kernel.db import Tx
from hub.kernel.egress import EgressRefused, allowed_pairs, check_url
from hub.kernel.errors import Conflict, Fault, NotFound, Rejected
from hub.kernel.store import webhooks as store
from hub.kernel.types import public_id, uuid7

SENDING = "send_webhooks"  # the task that looks for due messages
MOST_ENDPOINTS = 20  # of one tenant
OLD_SECRET_FOR = timedelta(hours=24)  # after a rotation both secrets sign for so long
REPLAY_MOST = 100_000
KEPT_DAYS = 30
PING = "webhook.ping"

# What may be told, and to whom. OpenAPI shows the same table.
TYPES: dict[str, tuple[frozenset[str], str]] = {
    PING: (frozenset({"mall", "vendor"}), "sent on request, to try an endpoint"),
    "order.updated": (
        frozenset({"mall"}),
        "an order, one of its lines or a case of after-sales changed its status; a line lost units",
    ),
    "shipment.updated": (frozenset({"mall"}), "tracking said something new about an order's parcels"),
    "purchase_order.created": (frozenset({"vendor"}), "a purchase order waits for this vendor"),
    "purchase_order.updated": (frozenset({"vendor"}), "a purchase order of this vendor changed its status"),
}


def types_for(scope: str) -> list[str]:
    """The message types that a mall, or a vendor, can be told."""
    return [name for name, (scopes, _) in TYPES.items() if scope in scopes]


async def anybody(tx: Tx) -> bool:
    """Whether any tenant has an endpoint."""
    return await store.any_endpoint(tx)


async def listening(tx: Tx, *tenants: str) -> set[str]:
    """Which of these tenants have an endpoint at all: nobody else needs to be told."""
    return await store.listening(tx, tenants)


async def announce(tx: Tx, tenant: str, kind: str, data: Mapping[str, Any]) -> None:
    """Tell a tenant (`mall:7`) something, in the transaction in which it became true."""
    if kind not in TYPES:
        raise ValueError(f"{kind} is no message type")
    if await store.add_message(tx, uuid7(), tenant, kind, _body(kind, tx.now, data)):
        tx.wake(SENDING)


def _body(kind: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "timestamp": at.isoformat(), "data": data})


# Endpoints --------------------------------------------------------------------------------------------------------


def checked_url(url: str) -> str:
    """The address, if messages may go there: https, public, without credentials. Raises Rejected. Names are resolved
    and checked again whenever something is sent."""
    fault = None
    try:
        parsed = httpx.URL(url)
        check_url(parsed)
    except (httpx.InvalidURL, EgressRefused) as error:
        fault = str(error)
    else:
        pair = f"{parsed.host}:{parsed.port or (443 if parsed.scheme == 'https' else 80)}".lower()
        if parsed.scheme != "https" and pair not in allowed_pairs():
            fault = "messages go to https addresses only"
        elif not parsed.host:
            fault = "there is no host in it"
        elif parsed.fragment:
            fault = "an address for messages has no fragment"
    if fault is not None:
        raise Rejected("messages cannot be sent to this address", code="bad_url", faults=(Fault("/url", fault),))
    return url


def new_secret() -> str:
    """A signing secret in the specification's form, 256 random bits."""
    return "whsec_" + base64.b64encode(random.token_bytes(32)).decode()


async def add_endpoint(tx: Tx, tenant: str, url: str, types: list[str], description: str) -> tuple[uuid.UUID, str]:
    """A new endpoint; returns its id and its secret, which is not shown again. Raises Conflict when there are too many,
    Rejected for an address that may not be used."""
    checked_url(url)
    if await store.queue_for_endpoints(tx, tenant) >= MOST_ENDPOINTS:
        raise Conflict(f"there are {MOST_ENDPOINTS} endpoints already; remove one first", code="too_many_endpoints")
    endpoint_id, secret = uuid7(), new_secret()
    sealed = secrets.encrypt(secret.encode(), _context(endpoint_id))
    await store.add_endpoint(tx, endpoint_id, tenant, url, description, types, sealed)
    return endpoint_id, secret


async def rotate(tx: Tx, tenant: str, endpoint_id: uuid.UUID) -> tuple[str, datetime]:
    """A new secret; the old one signs beside it until the instant returned. Raises NotFound."""
    row = await store.endpoint_of(tx, tenant, endpoint_id, lock=True)
    if row is None:
        raise no_endpoint()
    secret, until = new_secret(), tx.now + OLD_SECRET_FOR
    sealed = secrets.encrypt(secret.encode(), _context(endpoint_id))
    await store.change_endpoint(tx, endpoint_id, {"secret": sealed, "old_secret": row["secret"], "old_until": until})
    return secret, until


async def ping(tx: Tx, tenant: str, endpoint_id: uuid.UUID) -> uuid.UUID:
    """Send a message that says nothing to one endpoint; returns the message's id. Raises NotFound."""
    if await store.endpoint_of(tx, tenant, endpoint_id) is None:
        raise no_endpoint()
    message_id = uuid7()
    body = _body(PING, tx.now, {"endpoint_id": public_id("whe", endpoint_id)})
    await store.add_message_for(tx, message_id, tenant, PING, body, endpoint_id)
    tx.wake(SENDING)
    return message_id


def no_endpoint() -> NotFound:
    """The error of an endpoint that this tenant does not have."""
    return NotFound("there is no such webhook endpoint", code="no_endpoint")


# Signing ----------------------------------------------------------------------------------------------------------


def secrets_of(row: asyncpg.Record, now: datetime) -> list[str]:
    """The secrets that sign for an endpoint now, the newest first."""
    sealed = [row["secret"]]
    if row["old_secret"] is not None and row["old_until"] > now:
        sealed.append(row["old_secret"])
    return [secrets.decrypt(one, _context(row["id"])).decode() for one in sealed]


def signed_headers(message_id: uuid.UUID, at: datetime, body: bytes, keys: list[str]) -> dict[str, str]:
    """The three headers of the specification; with several secrets, several signatures."""
    name, text = public_id("msg", message_id), body.decode()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(key).sign(name, at, text) for key in keys),
        "content-type": "application/json",
    }


def _context(endpoint_id: uuid.UUID) -> str:
    return f"webhook_endpoint:{endpoint_id}"
