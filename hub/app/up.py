"""`supplyhub up`: the whole hub on one machine. It owns the servers, brings the schema up to date, keeps web,
workers and scheduler running (a child that dies is started again), and stops everything in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from hub.app import runtime
from hub.kernel import db
from hub.kernel.embedded import die_with_parent
from hub.kernel.errors import Misconfigured
from hub.kernel.settings import Settings, settings

log = structlog.get_logger()
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 25.0
SOON_S = 5.0  # a child that dies later than this after its start is started again at once


@dataclass
class Child:
    """One supervised process: its command and, while it runs, its handle."""

    name: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0  # monotonic seconds
    deaths: int = 0  # in a row, each soon after its start
    not_before: float = 0.0


@dataclass
class Hub:
    """A running hub: where it is and the processes behind it."""

    base_url: str
    urls: runtime.Urls
    children: list[Child]
    environment: dict[str, str]
    stopping: threading.Event = field(default_factory=threading.Event)

    def pid_of(self, name: str) -> int:
        """The process id of a child, for fault tests."""
        for child in self.children:
            if child.name == name and child.process is not None:
                return child.process.pid
        raise KeyError(name)


def commands(config: Settings) -> list[Child]:
    """The processes of one machine, first started first."""
    me = [sys.executable, "-m", "hub.app.cli"]
    flow = [
        Child(f"flow-{n}", [*me, "worker", "--queues", "flow", "--concurrency", "4", "--name", f"flow-{n}"])
        for n in range(1, config.flow_processes + 1)
    ]
    sync = [
        Child(f"sync-{n}", [*me, "worker", "--queues", "sync", "--concurrency", "2", "--name", f"sync-{n}"])
        for n in range(1, config.sync_processes + 1)
    ]
    match = [
        Child(f"match-{n}", [*me, "worker", "--queues", "match", "--concurrency", "1", "--name", f"match-{n}"])
        for n in range(1, config.match_processes + 1)
    ]
    return [Child("web", [*me, "serve"]), *flow, *sync, *match, Child("scheduler", [*me, "scheduler"])]


@contextlib.contextmanager
def running(say: Callable[[str], None] = lambda _line: None) -> Iterator[Hub]:
    """A whole hub for the length of the block, ready when the block begins."""
    config = settings()
    with runtime.servers() as urls:
        say("PostgreSQL and Valkey are up")
        _migrate(urls.database)
        say("the schema is up to date")
        port = config.port or _free_port(config.host)
        _check_port(config.host, port)
        environment = {
            **os.environ,
            "SUPPLYHUB_DATA_DIR": str(config.data_dir.resolve()),
            "SUPPLYHUB_DATABASE_URL": urls.database,
            "SUPPLYHUB_REDIS_URL": urls.redis,
            "SUPPLYHUB_PORT": str(port),
        }
        host = "127.0.0.1" if config.host in ("0.0.0.0", "::") else config.host  # noqa: S104 - compared, not bound
        hub = Hub(f"http://{host}:{port}", urls, commands(config), environment)
        try:
            _spawn(hub, hub.children[0])  # the web first and alone: on a small machine starting all at once is slower
            _await_ready(hub)
            for child in hub.children[1:]:
                _spawn(hub, child)
            watcher = threading.Thread(target=_watch, args=(hub,), name="watch", daemon=True)
            watcher.start()
            yield hub
        finally:
            hub.stopping.set()
            _stop(hub)


def _spawn(hub: Hub, child: Child) -> None:
    child.started_at = time.monotonic()
    child.process = subprocess.Popen(  # noqa: S603 - our own command line
        child.arguments,
        env=hub.environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a terminal's Ctrl-C reaches the supervisor alone, which then stops in order
        preexec_fn=die_with_parent,
    )


def _await_ready(hub: Hub) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        web = hub.children[0].process
        if web is not None and web.poll() is not None:
            raise Misconfigured("the web process stopped while starting; its log is above")
        if _ready(hub.base_url):
            return
        if time.monotonic() > deadline:
            raise Misconfigured(f"the web process did not become ready within {READY_WITHIN_S:.0f} s")
        time.sleep(0.05)


def _ready(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base_url}/readyz", timeout=2) as answer:  # noqa: S310 - our own URL
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _watch(hub: Hub) -> None:
    """Start again what dies, a little slower each time it dies soon."""
    while not hub.stopping.wait(0.2):
        for child in hub.children:
            process = child.process
            if process is None or process.poll() is None or time.monotonic() < child.not_before:
                continue
            if hub.stopping.is_set():
                return
            if time.monotonic() - child.started_at > SOON_S:
                child.deaths = 0
            child.deaths += 1
            child.not_before = time.monotonic() + min(10.0, 0.2 * child.deaths)
            log.warning("child_died", child=child.name, code=process.returncode, deaths=child.deaths)
            _spawn(hub, child)


def _stop(hub: Hub) -> None:
    """Web first (no new work), then scheduler and workers (warm), all within one deadline."""
    alive = [child for child in hub.children if child.process is not None and child.process.poll() is None]
    for child in alive:
        assert child.process is not None
        child.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_WITHIN_S
    for child in alive:
        assert child.process is not None
        try:
            child.process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("child_killed", child=child.name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()


def _migrate(url: str) -> None:
    """Bring the schema up to date, on a loop of its own so that callers may have one running. Alembic, which takes a
    second to import, is asked only when the newest migration is not there yet."""
    with ThreadPoolExecutor(1) as own:
        if own.submit(asyncio.run, _revision(url)).result() == NEWEST:
            return
        from hub.app.migrate import upgrade

        own.submit(asyncio.run, upgrade(url)).result()


NEWEST = max(path.name[:4] for path in (Path(__file__).parents[1] / "migrations" / "versions").glob("[0-9]*.py"))


async def _revision(url: str) -> str | None:
    db.connect(url, settings())
    try:
        if await db.read_value("SELECT to_regclass('alembic_version')") is None:
            return None
        revision: str | None = await db.read_value("SELECT version_num FROM alembic_version")
        return revision
    finally:
        await db.disconnect()


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _check_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Misconfigured(
                f"port {port} on {host} cannot be used ({error.strerror}); set SUPPLYHUB_PORT to another, or 0 for any"
            ) from error
