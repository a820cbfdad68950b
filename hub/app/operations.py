"""What operators look at: liveness, readiness, metrics, the API's own description; and the kernel's upkeep."""

from __future__ import annotations

import functools
import html
import platform
from importlib.metadata import version
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

import catalog.api
import connectors.api
import orders.api
import pricing.api
from hub.kernel import clock, metrics, store
from hub.kernel.db import uow
from hub.kernel.errors import HubError, Retry
from hub.kernel.openapi import document
from hub.kernel.store import webhooks as webhook_store
from hub.kernel.types import View
from hub.kernel.web import Answer, Call, Routes
from hub.kernel.webhooks import KEPT_DAYS, TYPES

routes = Routes("operations", prefix="")
CANARY_ALARM_S = 30.0


class Health(View):
    status: str


class Readiness(View):
    status: str
    database: str
    workers: str
    outbox_pending: int
    outbox_dead: int
    canary_age_s: float | None


@routes.get("/healthz", scope="public", summary="The process answers", answer=Health)
async def healthz(_call: Call[Any, Any]) -> Health:
    return Health(status="ok")


@routes.get("/readyz", scope="public", summary="Database and workers do their work", answer=Readiness)
async def readyz(_call: Call[Any, Any]) -> Readiness:
    """503 while the database cannot be reached. A silent worker shows in `workers` but does not stop serving."""
    try:
        async with uow() as tx:
            outbox = await store.outbox_state(tx)
            age = await store.canary_age(tx)
    except (HubError, TimeoutError) as error:
        raise Retry("the database cannot be reached; see `supplyhub doctor`", code="not_ready", after=2) from error
    workers = "silent" if age is None or age > CANARY_ALARM_S else "ok"
    return Readiness(
        status="ok",
        database="ok",
        workers=workers,
        outbox_pending=outbox["pending"],
        outbox_dead=outbox["dead"],
        canary_age_s=age,
    )


@routes.get("/metrics", scope="public", summary="Prometheus metrics", answer="text/plain")
async def prometheus(_call: Call[Any, Any]) -> web.Response:
    async with uow() as tx:
        outbox = await store.outbox_state(tx)
        age = await store.canary_age(tx)
        drift = await connectors.api.sweep_drift(tx)
        webhooks = await webhook_store.backlog(tx)
    for row in await catalog.api.assortment_watch_rows():
        since = row["below_since"]
        metrics.ASSORTMENT.labels(row["kind"]).set(row["orderable"])
        metrics.ASSORTMENT_BELOW.labels(row["kind"]).set(0 if since is None else (clock.now() - since).total_seconds())
    metrics.SWEEP_DRIFT.clear()
    for connection_id, rows in drift.items():
        metrics.SWEEP_DRIFT.labels(connection_id).set(rows)
    metrics.WEBHOOKS_WAITING.set(webhooks["waiting"])
    metrics.WEBHOOKS_AGE.set(webhooks["oldest"])
    metrics.OUTBOX_PENDING.set(outbox["pending"])
    metrics.OUTBOX_DEAD.set(outbox["dead"])
    metrics.OUTBOX_AGE.set(outbox["age"])
    metrics.CANARY_AGE.set(-1 if age is None else age)
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


@functools.cache
def api_document() -> dict[str, Any]:
    """The OpenAPI document of everything served."""
    from hub.app.wiring import ROUTES  # this module's routes are among them

    return document(ROUTES, version=version("supplyhub"), told=TYPES)


@routes.get("/openapi.json", scope="public", summary="This API as an OpenAPI 3.1 document", answer=dict[str, Any])
async def openapi_json(_call: Call[Any, Any]) -> dict[str, Any]:
    return api_document()


@routes.get("/docs", scope="public", summary="The API as a page", answer="text/html")
async def docs(_call: Call[Any, Any]) -> Answer:
    return Answer(body=_docs_page(), content_type="text/html")


@functools.cache
def _docs_page() -> bytes:
    rows = []
    for path, operations in sorted(api_document()["paths"].items()):
        for method, operation in operations.items():
            who = ", ".join(operation["x-scopes"])
            rows.append(
                f"<tr><td><b>{method.upper()}</b></td><td><code>{html.escape(path)}</code></td>"
                f"<td>{html.escape(operation['summary'])}</td><td>{who}</td></tr>"
            )
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>supplyhub API</title>
<meta name="viewport" content="width=device-width">
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}}
td,th{{padding:.35rem .8rem .35rem 0;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}}</style>
<h1>supplyhub API</h1><p>The full truth, with every field, is <a href="/openapi.json">openapi.json</a>
(OpenAPI 3.1). Send <code>Authorization: Bearer KEY</code>; errors are problem+json.</p>
<table><tr><th>Method<th>Path<th>What it does<th>Keys</tr>{"".join(rows)}</table></html>"""
    return page.encode()


async def canary() -> None:
    """Proof that a worker completes tasks: consuming without completing does not count as alive."""
    async with uow() as tx:
        await store.touch_canary(tx, platform.node())


async def housekeeping() -> None:
    """Forget what nothing can need any more. Idempotency keys and delivered events are kept for a month."""
    async with uow() as tx:
        await store.forget_delivered(tx, older_than_days=30)
        await store.forget_idempotency_keys(tx, older_than_days=30)
        await store.forget_ticks(tx)
        await webhook_store.forget(tx, KEPT_DAYS, 10_000)
        await connectors.api.forget_old(tx)
        await pricing.api.forget_old_observations(tx)
        await orders.api.forget_old(tx)
    await catalog.api.prune_changes()
