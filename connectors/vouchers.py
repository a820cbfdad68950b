"""Codes that the hub itself holds: taken in once, encrypted at rest, each handed out exactly once.

`Pool` is one connection's codes as its connector sees them; every call is a transaction of its own. An order's codes
are *held* from the moment it is placed and *shown* when they are first asked for: a code that nobody has seen may go
back into the pool. The same code is recognised by its mark, a fingerprint keyed with a secret of the connection that
the hub makes itself and that outlives the rotation of the encryption keys."""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, tzinfo
from typing import Any, Literal

import asyncpg
from pydantic import SecretStr

from connectors import directory, store
from connectors.contracts import IssuedCode
from connectors.store import vouchers as sql
from hub.kernel import secrets as sealing
from hub.kernel.db import Tx, uow
from hub.kernel.errors import Broken, Misconfigured, NotFound, Retry

MARK_KEY = "mark_key"  # the connection's secret that keys the marks
LONGEST_CODE = 512
_END_OF_DAY = time(23, 59, 59)
_DAY = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(.*)")


@dataclass(frozen=True, slots=True)
class Want:
    """How many codes of which SKU a line of an order wants."""

    line_no: int
    sku: str
    count: int


@dataclass(frozen=True, slots=True)
class Held:
    """What an order holds: how many codes, and when they were first shown."""

    count: int
    shown_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewCode:
    """A code on its way into the pool, with where it stood in what was sent."""

    place: int
    sku: str
    code: str
    pin: str | None = None
    valid_until: datetime | None = None

    def __repr__(self) -> str:
        return f"<code {self.place} of {self.sku}>"


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one code that was sent."""

    place: int
    result: Literal["taken", "duplicate", "refused"]
    detail: str | None = None


class Pool:
    """The codes of one connection."""

    def __init__(self, connection_id: int | str) -> None:
        self._connection = connection_id

    async def free(self, good_until: datetime) -> Mapping[str, int]:
        """How many codes of each SKU may be handed out and are good until then. A connection that is not stored has
        none."""
        if not isinstance(self._connection, int):
            return {}
        async with uow() as tx:
            return await sql.free_counts(tx, self._connection, good_until)

    async def take(self, key: str, wants: Sequence[Want], good_until: datetime) -> Sequence[str]:
        """Hold codes for the order `key`, all that it wants or none; what is short, if anything. An order that holds
        codes keeps just those."""
        own = self._id
        async with uow() as tx:
            await sql.lock_order(tx, own, key)
            if await sql.codes_of_order(tx, own, key):
                return ()
            total: Counter[str] = Counter()
            for want in wants:
                total[want.sku] += want.count
            await sql.lock_skus(tx, own, total)
            picked = {sku: await sql.pick(tx, own, sku, good_until, n) for sku, n in sorted(total.items())}
            short = sorted(sku for sku, ids in picked.items() if len(ids) < total[sku])
            if short:
                return short
            ids, lines = [], []
            for want in wants:
                ids += [picked[want.sku].pop(0) for _ in range(want.count)]
                lines += [want.line_no] * want.count
            if await sql.hand(tx, key, ids, lines) != len(ids):
                raise Retry("codes were taken away under a lock", code="codes_moved")
        return ()

    async def keep(self, key: str, issued: Sequence[tuple[int, NewCode]]) -> None:
        """Store codes that a vendor issued for lines of the order `key`; those that it holds already are kept as they
        are. Raises Broken when one of them belongs to somebody else: a vendor must not issue a code twice."""
        own = self._id
        async with uow() as tx:
            await sql.lock_order(tx, own, key)
            if await sql.codes_of_order(tx, own, key):
                return
            secret = await _mark_key(tx, own)
            rows = [
                (new.sku, mark(secret, new.code), seal(own, new), new.valid_until, key, line_no)
                for line_no, new in issued
            ]
            if len(await sql.add_codes(tx, own, rows)) != len(rows):
                raise Broken("the vendor issued a code that it had issued before", code="code_issued_twice")

    async def held(self, key: str) -> Held | None:
        """What the order holds; None when it holds nothing."""
        if not isinstance(self._connection, int):
            return None
        async with uow() as tx:
            rows = await sql.codes_of_order(tx, self._connection, key)
        return Held(len(rows), rows[0]["handed_at"]) if rows else None

    async def show(self, key: str) -> Sequence[IssuedCode]:
        """The codes of the order, which count as seen from now on. Raises NotFound when it holds none."""
        own = self._id
        async with uow() as tx:
            await sql.lock_order(tx, own, key)
            rows = await sql.codes_of_order(tx, own, key)
            if not rows:
                raise NotFound("this order holds no codes", code="no_codes")
            await sql.show_codes(tx, own, key)
        return [_issued(own, row) for row in rows]

    async def give_back(self, key: str, *, even_seen: bool, void: bool = False) -> bool:
        """Take the order's codes from it: into the pool those that nobody has seen, out of use those that somebody has,
        or (`void`) all. False, and nothing done, when they were seen and `even_seen` is not wanted. True too when it
        holds none."""
        own = self._id
        async with uow() as tx:
            await sql.lock_order(tx, own, key)
            rows = await sql.codes_of_order(tx, own, key)
            seen = any(row["handed_at"] is not None for row in rows)
            if seen and not even_seen:
                return False
            await sql.give_back(tx, own, key, for_good=seen or void)
        return True

    @property
    def _id(self) -> int:
        if not isinstance(self._connection, int):
            raise Misconfigured("codes are kept for stored connections only", code="not_stored")
        return self._connection


async def take_in(
    tx: Tx, connection_id: int, codes: Sequence[NewCode], skus: Collection[str]
) -> tuple[list[Taken], Counter[str]]:
    """Take codes into the pool, each judged on its own: what became of each, in the order sent, and how many of each
    SKU were taken. Taking in the same again changes nothing."""
    secret = await _mark_key(tx, connection_id)
    results: list[Taken] = []
    fresh: dict[bytes, NewCode] = {}

    def prepare() -> list[tuple[Any, ...]]:
        for new in codes:
            reason = _refusal(new, skus, tx.now)
            own = mark(secret, new.code)
            if reason:
                results.append(Taken(new.place, "refused", reason))
            elif own in fresh:
                detail = f"the same code stands at {fresh[own].place} already"
                results.append(Taken(new.place, "duplicate", detail))
            else:
                fresh[own] = new
        return [(n.sku, own, seal(connection_id, n), n.valid_until, None, None) for own, n in fresh.items()]

    added = await sql.add_codes(tx, connection_id, await asyncio.to_thread(prepare))  # thousands take their time
    counts: Counter[str] = Counter()
    for own, new in fresh.items():
        if own in added:
            counts[new.sku] += 1
            results.append(Taken(new.place, "taken"))
        else:
            results.append(Taken(new.place, "duplicate", "the pool has or had this code"))
    return sorted(results, key=lambda result: result.place), counts


def _refusal(new: NewCode, skus: Collection[str], now: datetime) -> str:
    if not new.code:
        return "there is no code"
    if len(new.code) > LONGEST_CODE or len(new.pin or "") > LONGEST_CODE:
        return f"a code or PIN has at most {LONGEST_CODE} characters"
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in new.code + (new.pin or "")):
        return "the code or PIN holds characters that nobody can read"
    if new.sku not in skus:
        return f"the connection sells no {new.sku!r}"[:200] if new.sku else "say which SKU the code is of"
    if new.valid_until is not None and new.valid_until <= now:
        return "the code is no longer valid"
    return ""


def mark(secret: bytes, code: str) -> bytes:
    """The keyed fingerprint by which a code is recognised."""
    return hmac.digest(secret, code.strip().encode("utf-8", "replace"), "sha256")


def seal(connection_id: int, new: NewCode) -> bytes:
    """Code and PIN, encrypted for this connection."""
    plain = {"code": new.code, **({"pin": new.pin} if new.pin else {})}
    return sealing.encrypt_json(plain, _context(connection_id))


def masked(connection_id: int, sealed: bytes) -> str:
    """As much of a code as a person needs to recognise it: `AB••••89`."""
    code = str(sealing.decrypt_json(sealed, _context(connection_id))["code"])
    shown = 2 if len(code) >= 8 else 1 if len(code) >= 6 else 0
    return f"{code[:shown]}••••{code[len(code) - shown :]}"


def moment(text: str, zone: tzinfo) -> datetime:
    """The instant until which `text` says that a code is good; a day counts to its end. A time without a zone is one of
    `zone`. Raises ValueError."""
    found = _DAY.fullmatch(text.strip())
    plain = f"{found[1]}-{found[2]:0>2}-{found[3]:0>2}{found[4]}" if found else text.strip()
    try:
        when = datetime.fromisoformat(plain)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a date or time") from None
    if len(plain) <= 10:
        when = datetime.combine(when.date(), _END_OF_DAY)
    try:
        when = when if when.tzinfo is not None else when.replace(tzinfo=zone)
        far = not 1900 <= when.year < 2200
    except (OverflowError, ValueError):
        far = True
    if far:
        raise ValueError(f"{text[:40]!r} is not a date of this time")
    return when


def _issued(connection_id: int, row: asyncpg.Record) -> IssuedCode:
    plain = sealing.decrypt_json(row["sealed"], _context(connection_id))
    pin = plain.get("pin")
    return IssuedCode(
        line_no=row["line_no"],
        code=SecretStr(plain["code"]),
        pin=SecretStr(pin) if pin else None,
        valid_until=row["valid_until"],
    )


async def _mark_key(tx: Tx, connection_id: int) -> bytes:
    """The key of the connection's marks; made when first needed, once however many ask."""
    for locked in (False, True):
        if locked:
            await sql.lock_order(tx, connection_id, "")
        row = await store.connection(tx, connection_id)
        if row is None:
            raise NotFound("there is no such connection", code="no_connection")
        known = directory.adapter_of(row).secrets.get(MARK_KEY)
        if known is not None and known.get_secret_value():
            return known.get_secret_value().encode()
    made = base64.b64encode(os.urandom(32)).decode()
    await directory.rotate_secrets(tx, connection_id, {MARK_KEY: made})
    return made.encode()


def _context(connection_id: int) -> str:
    return f"voucher:{connection_id}"
