"""Which servers this process talks to: the configured URLs, else those of the embedded servers that `supplyhub
up` runs in the data directory, else embedded servers started for the length of one command."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from hub.kernel import db
from hub.kernel.embedded import Embedded
from hub.kernel.errors import Misconfigured
from hub.kernel.settings import settings


@dataclass(frozen=True)
class Urls:
    """Where PostgreSQL and the Redis protocol are."""

    database: str
    redis: str


def _note() -> Path:
    return settings().data_dir / "runtime.json"


def urls() -> Urls:
    """The servers in reach; raises Misconfigured with what to do when there are none."""
    config = settings()
    if config.database_url is not None and config.redis_url is not None:
        return Urls(config.database_url.get_secret_value(), config.redis_url.get_secret_value())
    try:
        noted = Urls(**json.loads(_note().read_text()))
    except FileNotFoundError as error:
        raise Misconfigured(
            "no servers: run `supplyhub up`, or set SUPPLYHUB_DATABASE_URL and SUPPLYHUB_REDIS_URL"
        ) from error
    return Urls(
        config.database_url.get_secret_value() if config.database_url else noted.database,
        config.redis_url.get_secret_value() if config.redis_url else noted.redis,
    )


@contextlib.contextmanager
def servers() -> Iterator[Urls]:
    """Own the data directory and run what no URL names; stops on exit exactly what it started.

    Raises Misconfigured when another supplyhub owns the directory."""
    config = settings()
    config.data_dir.mkdir(parents=True, exist_ok=True)
    if config.database_url is not None and config.redis_url is not None:
        yield urls()
        return
    with (config.data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Misconfigured(
                f"another supplyhub already runs in {config.data_dir.resolve()}; "
                "use it, stop it, or set SUPPLYHUB_DATA_DIR to another folder"
            ) from error
        embedded = Embedded(config.data_dir)
        try:
            embedded.start()
            found = Urls(
                config.database_url.get_secret_value() if config.database_url else embedded.database_url,
                config.redis_url.get_secret_value() if config.redis_url else embedded.redis_url,
            )
            draft = _note().with_suffix(f".{os.getpid()}")
            draft.touch(mode=0o600)
            draft.write_text(json.dumps(asdict(found)))
            draft.replace(_note())
            yield found
        finally:
            _note().unlink(missing_ok=True)
            embedded.stop()


def calm_collector() -> None:
    """For processes that run long: what start-up made is never garbage, and young objects by the thousand are rows on
    their way through, so look less often. (Measured: 15 to 40 % of a pull's time went into looking.)"""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[Urls]:
    """A database for one command: that of a running `up`, else servers started and migrated just for it."""
    with contextlib.ExitStack() as stack:
        try:
            found = urls()
        except Misconfigured:
            from hub.app.migrate import upgrade  # Alembic takes long to import, and only this path needs it

            found = stack.enter_context(servers())
            await upgrade(found.database)
        db.connect(found.database, settings())
        try:
            yield found
        finally:
            await db.disconnect()
