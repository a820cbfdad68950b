"""`kill -9`, once a second, of one of a hub's own processes. The hub's supervisor starts again what died; nothing else
helps it. A process that is still starting is passed over, since killing it interrupts no work."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence

import psutil

from hub.app.demo.scene import Scene

EVERY_S = 1.0
AT_LEAST_S = 6.0  # a small run is spread over this long, so that some processes die in it
WEB, WEB_MASTER = "web process", "web"  # the oldest of the processes that serve, and the one that keeps them


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
            if name in (WEB, WEB_MASTER):  # the children are forked from a loaded program, so they serve at once
                serving = sorted(process.children(), key=psutil.Process.create_time)
                at_work = bool(serving) and _age(serving[0]) > 1.0
                process = serving[0] if serving and name == WEB else process
            else:  # a worker's pool of threads starts when the rest has
                at_work = process.num_threads() > 2 or _age(process) > 4.0
            if at_work and process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
                return True
        return False


def _age(process: psutil.Process) -> float:
    return time.time() - process.create_time()


async def wait_turn(started: float, number: int, total: int) -> None:
    """Hold back the `number`-th of `total` pieces of a small run; `started` is the run's monotonic start."""
    await asyncio.sleep(started + AT_LEAST_S * number / total - time.monotonic())


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
