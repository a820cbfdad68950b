"""The unit of work, and the only place where a transaction begins or ends.

`async with uow() as tx` is opened by the web layer, by the outbox and by tasks; nobody else commits. A `Tx` runs SQL
text on the driver's own connection (`tx.fetch`, `tx.run`, `tx.copy`) and SQLAlchemy Core statements (`tx.execute`),
all in the one transaction. `tx.now` is one instant for the whole transaction. Row-level security reads the tenant set
here (`tenant="mall:7"`); hub processes say `"*"`, and a transaction that says nothing sees no tenant's rows. JSONB
goes in as JSON text and comes out parsed. Why not SQLAlchemy's engine: docs/adr/0006.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, cast

import asyncpg
from sqlalchemy import MetaData
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import make_url
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ClauseElement

from hub.kernel import clock, tasks
from hub.kernel.errors import Retry
from hub.kernel.failpoints import failpoint
from hub.kernel.pool import Writers
from hub.kernel.readers import Readers
from hub.kernel.settings import Settings

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

HUB = "*"  # the tenant of the hub's own processes: sees every row
_DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
_TRANSIENT = ("40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "53300")


TENANT = "(SELECT current_setting('supplyhub.tenant', true))"  # who asks, in SQL; uow() says it


def tenant_wall(table: str, rule: str) -> tuple[str, ...]:
    """Statements that hide a table's rows, from its owner too, unless `rule` (SQL over a row) holds."""
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY {table}_tenant ON {table} USING ({rule}) WITH CHECK ({rule})",
    )


class Emits(Protocol):
    """Anything the outbox can store: an event with a type name and a JSON payload."""

    def outbox_row(self) -> tuple[str, str]: ...


class Tx:
    """One open transaction."""

    def __init__(self, raw: asyncpg.Connection[Any], now: datetime, tenant: str) -> None:
        self.raw = raw
        self.now = now
        self.tenant = tenant
        self._depth = 0
        self._events: list[tuple[str, str]] = []
        self._wakes: set[str] = set()
        self._after: list[Callable[[], Awaitable[None] | None]] = []

    async def execute(self, statement: ClauseElement, params: Mapping[str, Any] | None = None) -> list[asyncpg.Record]:
        """Run a Core statement (insert, update, delete, select); its rows, if it has any."""
        compiled = statement.compile(dialect=_DIALECT, column_keys=list(params) if params else None)
        assert isinstance(compiled, SQLCompiler)
        values = compiled.construct_params(params)
        convert = compiled._bind_processors
        args = [
            convert[name](values[name]) if name in convert else values[name]  # type: ignore[operator]
            for name in compiled.positiontup or ()
        ]
        return await self.fetch(str(compiled), *args)

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        """Rows of SQL with $1 parameters, prepared once per connection by the driver."""
        return cast("list[asyncpg.Record]", await self.raw.fetch(sql, *args))

    async def fetchrow(self, sql: str, *args: Any) -> asyncpg.Record | None:
        return cast("asyncpg.Record | None", await self.raw.fetchrow(sql, *args))

    async def fetchval(self, sql: str, *args: Any) -> Any:
        return await self.raw.fetchval(sql, *args)

    async def run(self, sql: str, *args: Any) -> int:
        """Run SQL with $1 parameters; returns the number of rows it touched."""
        tag = await self.raw.execute(sql, *args)
        tail = tag.rsplit(" ", 1)[-1]
        return int(tail) if tail.isdigit() else 0

    async def run_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        await self.raw.executemany(sql, rows)

    async def copy(self, table: str, columns: Sequence[str], records: Sequence[tuple[Any, ...]]) -> None:
        """Bulk-load `records` into `table` with binary COPY."""
        await self.raw.copy_records_to_table(table, records=records, columns=list(columns))

    @contextlib.asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo only what happens inside when it raises; events emitted inside are forgotten too."""
        events = len(self._events)
        self._depth += 1
        name = f"s{self._depth}"
        await self.raw.execute(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            del self._events[events:]
            if not self.raw.is_closed():
                await self.raw.execute(f"ROLLBACK TO {name}; RELEASE {name}")
            raise
        else:
            await self.raw.execute(f"RELEASE {name}")
        finally:
            self._depth -= 1

    def emit(self, *events: Emits) -> None:
        """Write events to the outbox in this same transaction."""
        self._events.extend(event.outbox_row() for event in events)

    def wake(self, task: str) -> None:
        """After the commit, ask a worker to look at its queue of record now rather than at the next tick."""
        self._wakes.add(task)

    def after_commit(self, call: Callable[[], Awaitable[None] | None]) -> None:
        """Run `call` once this transaction has committed (cache drops, notifications; nothing that must not
        be lost)."""
        self._after.append(call)

    async def flush_events(self) -> None:
        if self._events:
            types, payloads = zip(*self._events, strict=True)
            await self.raw.execute(
                "INSERT INTO outbox (type, payload) SELECT * FROM unnest($1::text[], $2::jsonb[])",
                list(types),
                list(payloads),
            )
            self._events.clear()
            self._wakes.add(tasks.FLOW)


class Database:
    """The connections of one process. Create it after the fork, on the loop that will use it."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.url = url
        server_settings = {
            "statement_timeout": str(settings.statement_timeout_ms),
            "lock_timeout": str(settings.lock_timeout_ms),
            "idle_in_transaction_session_timeout": "120000",
            "timezone": "UTC",
            "application_name": "supplyhub",
            "jit": "off",
        }
        dsn = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self.writers = Writers(dsn, settings.pool_size, server_settings)
        self.readers = Readers(dsn, settings.pool_size, server_settings)
        self.searching = asyncio.Semaphore(settings.searches_at_once)  # the rest wait here, first come, first served

    async def close(self) -> None:
        await self.writers.close()
        await self.readers.close()


_database: Database | None = None


def connect(url: str, settings: Settings) -> Database:
    """Make `url` the process's database. The caller closes it with `disconnect`."""
    global _database
    _database = Database(url, settings)
    return _database


async def disconnect() -> None:
    global _database
    if _database is not None:
        closing, _database = _database, None
        await closing.close()


def database() -> Database:
    if _database is None:
        raise RuntimeError("no database: call hub.kernel.db.connect first")
    return _database


@contextlib.asynccontextmanager
async def uow(tenant: str = HUB) -> AsyncIterator[Tx]:
    """One transaction: commits when the block ends, rolls back when it raises.

    A deadlock, lock time-out, lost connection or server shutdown surfaces as `Retry`, since the same call may
    simply be made again."""
    try:
        async with database().writers.transaction(tenant) as raw:
            tx = Tx(raw, clock.now(), tenant)
            yield tx
            await tx.flush_events()
            failpoint("uow.before_commit")
        failpoint("uow.after_commit")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise _transient(error) from error
    for wake in tx._wakes:
        tasks.wake(wake)
    for call in tx._after:
        pending = call()
        if pending is not None:
            await pending


def _transient(error: Exception) -> Exception:
    state = getattr(error, "sqlstate", None)
    if state in _TRANSIENT or (isinstance(state, str) and state.startswith("08")):
        return Retry("the database was busy or restarting; try again", code="database_busy", after=1.0)
    if isinstance(error, ValueError):  # the driver's DataError: a value that no column of that type can hold
        return error
    if isinstance(error, OSError | asyncpg.InterfaceError):
        return Retry("the database cannot be reached; try again", code="database_unreachable", after=2.0)
    return error


async def read(sql: str, *args: Any) -> list[asyncpg.Record]:
    """Rows of one read-only statement, outside any transaction (hot paths). It is planned once per connection, for any
    parameters: write it so that one plan is right for all."""
    try:
        return await database().readers.fetch(sql, *args)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise _transient(error) from error


async def read_value(sql: str, *args: Any) -> Any:
    """The single value of one read-only statement; None when there is no row."""
    rows = await read(sql, *args)
    return rows[0][0] if rows else None
