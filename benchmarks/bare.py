"""The least that an aiohttp server can do: one handler, fixed bytes (read from standard input), uvloop, no log."""

from __future__ import annotations

import sys

import uvloop
from aiohttp import web


def main() -> None:
    body = sys.stdin.buffer.read()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/bare", answer)
    web.run_app(
        app, host="127.0.0.1", port=int(sys.argv[1]), loop=uvloop.new_event_loop(), access_log=None,
        print=lambda *_: None, handler_cancellation=False,
    )  # fmt: skip


if __name__ == "__main__":
    main()
