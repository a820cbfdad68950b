"""`kill -9`, once a second, of one of a hub's own processes. The hub's supervisor starts again what died; nothing else
helps it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence

import psutil

from hub.app.demo.scene import Scene

EVERY_S = 1.0
LIVES_S = 2.0  # a process is left alone this long, so that there is work to interrupt
# A web process (one of those that the supervisor's child has forked, where there are several) and that child itself.
WEB, WEB_MASTER = "web process", "web"


class Killer:
    """Kills in the order of `victims`, again and again; counts only those that were alive to be killed."""

    def __init__(self, stage: Scene, victims: Sequence[str]) -> None:
        self._stage = stage
        self._victims = itertools.cycle(victims)
        self._length = len(victims)
        self.kills = 0

    async def run(self) -> None:
        """Kill until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            if any(
                self._kill(next(self._victims)) for _ in range(3)
            ):  # one that is just being started again is skipped
                self.kills += 1

    def _kill(self, name: str) -> bool:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._stage.hub.pid_of("web" if name == WEB else name))
            if name == WEB:
                process = min(process.children(), key=psutil.Process.create_time, default=process)
            if process.status() != psutil.STATUS_ZOMBIE and time.time() - process.create_time() > LIVES_S:
                process.kill()
                return True
        return False


@contextlib.asynccontextmanager
async def killing(stage: Scene, *victims: str) -> AsyncIterator[Killer]:
    """Kill one process a second for the length of the block; afterwards all of them are left in peace."""
    killer = Killer(stage, victims)
    task = asyncio.create_task(killer.run())
    try:
        yield killer
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
