"""The web application: every route of the wiring on one aiohttp app, with this process's connections."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

import catalog.api
import hub.app.wiring as wiring
import pricing.api
from hub.app import runtime, wakes
from hub.kernel import db, log, quota, tasks
from hub.kernel.errors import HubError, NotFound, Rejected, TooLarge
from hub.kernel.settings import settings
from hub.kernel.web import application, problem


async def _connections(_app: web.Application) -> AsyncIterator[None]:
    runtime.calm_collector()
    urls = runtime.urls()
    db.connect(urls.database, settings())
    waker = wakes.Waker(urls.redis)
    tasks.install(waker.wake)
    catalog.api.begin_sampling()
    quota.connect(urls.redis)
    yield
    await catalog.api.stop_sampling()
    await quota.disconnect()
    tasks.install(None)
    await waker.close()
    await db.disconnect()


class _NotAllowed(Rejected):
    status = 405
    title = "Method not allowed"


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What aiohttp itself refuses (unknown path, wrong method) answers as problem+json too."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status == 404:
            refused: HubError = NotFound("there is no such path; see /docs", code="no_such_path")
        elif error.status == 405:
            refused = _NotAllowed("this path does not know that method; see /docs", code="method")
        elif error.status == 413:
            refused = TooLarge("the request body is larger than this server accepts", code="body_too_large")
        else:
            raise
        answer = problem(refused, request.path)
        if "Allow" in error.headers:
            answer.headers["Allow"] = error.headers["Allow"]
        return answer


async def create_app() -> web.Application:
    """The application, ready for a runner or gunicorn; it connects when it starts."""
    log.configure(settings())
    pricing.api.count_live_listings_with(catalog.api.live_listings)
    app = application(wiring.ROUTES, body_limit=settings().body_limit_bytes, middlewares=[_problems])
    app.cleanup_ctx.append(_connections)
    return app


def serve() -> None:
    """Serve until SIGTERM or SIGINT: one uvloop process, or several under gunicorn."""
    config = settings()
    if config.web_processes > 1:
        gunicorn = [sys.executable, "-m", "gunicorn", "hub.app.web:create_app"]
        gunicorn += ["--bind", f"{config.host}:{config.port}", "--workers", str(config.web_processes)]
        gunicorn += ["--worker-class", "aiohttp.GunicornUVLoopWebWorker", "--graceful-timeout", "20"]
        level = config.log_level.lower()
        gunicorn += ["--log-level", "warning" if level in ("debug", "info") else level]
        gunicorn += ["--no-control-socket"]  # its default socket is one per user, not per hub
        gunicorn += ["--preload"]  # a worker that died is back in a moment; connections are made after the fork
        os.execv(sys.executable, gunicorn)  # noqa: S606 - becomes gunicorn, which forwards signals to its workers
    import uvloop

    runner_loop = uvloop.new_event_loop()
    web.run_app(
        create_app(),
        host=config.host,
        port=config.port,
        loop=runner_loop,
        print=lambda *_: None,
        access_log=None,
        shutdown_timeout=20,
        handler_cancellation=False,
    )
