"""The post office of one connection: what came in, what was sent, and which of it the hub has landed. It keeps no
database; the mailbox itself is the journal, in folders of ours beside the two that the partner sees:

    <inbox>               the partner puts files here
    <outbox>              the hub puts files here
    <workspace>/taken     files that were looked at and are not yet proven landed, or still describe the present
    <workspace>/archive   files that are done, a folder a day
    <workspace>/refused   files that could not be used, a folder a day
    <workspace>/staging, sent, numbers, marks     see below

**In, at least once.** A pull moves each whole file from the inbox to `taken`, under a name that starts with the hub's
own time (connectors.edi.names). The hub saves what a run brought and where it stands in one transaction, and hands the
next incremental pull the time at which its newest complete run began. A file that was in `taken` before that run began
was read by it and is landed; only then is it moved on. Until then every pull reads it again, which changes nothing.

**Out, exactly once.** Leaving a file is three steps: write it to `staging` under a name with a control number that no
other file has; write the same bytes to `sent`, unless there is such a letter already; rename the staged file into the
outbox. Each step is atomic and the last one is the delivery, so the two folders say what happened whenever the process
dies: nothing in `sent`: not sent. `sent` and still in `staging`: not delivered, safe to deliver. Only in `sent`:
delivered, whether or not the partner has taken the file away since.

**Control numbers** are seconds since 2020 (nine digits last until 2051), claimed by making a file of that name in
`numbers`, which of any number of workers one alone can do; a number that is taken is followed by the next one. So they
are unique for ever, rise with time, and have gaps (which the standards allow)."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from typing import Any

import structlog

from connectors.edi.models import Dialect, Fact, Scan
from connectors.edi.names import Taken, current, name_of, parsed, stamp_of
from connectors.mailbox import Entry, Mailbox
from connectors.tables import Limits, Spooled
from hub.kernel import clock
from hub.kernel.errors import Broken, Conflict, NotFound, Retry

log = structlog.get_logger()
PROVEN = timedelta(minutes=10)  # a file older than this before the newest complete run's beginning was read by it
MOST_AT_ONCE = 1_000  # files taken in, or moved on, by one pull
PEEK_BYTES = 4 * 2**20  # larger files of an inbox are left for a pull: they are catalogues
ORDER_LABELS = ("ans", "asn", "ack", "inv")
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_REFERENCE = re.compile(r"[A-Za-z0-9_\-]{1,64}")

# What order documents said, by connection and file: they never change once written. Shared by the objects of a process.
_told: OrderedDict[tuple[str, str], list[Fact]] = OrderedDict()
MOST_TOLD = 5_000


@dataclass(frozen=True)
class Folders:
    inbox: str = "inbox"
    outbox: str = "outbox"
    workspace: str = "supplyhub"

    def own(self, name: str) -> str:
        return f"{self.workspace}/{name}"


@dataclass
class PostOffice:
    """The letters of one connection. `name` tells connections apart within the process."""

    box: Mailbox
    dialect: Dialect
    name: str
    folders: Folders = field(default_factory=Folders)
    settle: timedelta = timedelta(minutes=15)
    largest: int = 256 * 2**20
    ignore: tuple[str, ...] = ("*.tmp", "*.part", "*.filepart", "*.writing", "*.lock")
    acknowledge: bool = True
    reused: str = "accept"  # what becomes of another file under a control number that came before
    _last: int = 0  # the control number that was tried last

    # In -------------------------------------------------------------------------------------------------------

    async def take_new(self) -> tuple[list[str], list[str]]:
        """Move the whole files of the inbox to `taken`, acknowledge them, and return (sentences about files that are
        not whole yet, oddities that were read over)."""
        waiting: list[str] = []
        notes: set[str] = set()
        at = clock.now()
        for entry in (await self.inbox())[:MOST_AT_ONCE]:
            at = max(at + timedelta(microseconds=1), clock.now())
            try:
                left = await self._take(entry, at, notes)
            except NotFound:  # somebody else took it
                continue
            if left:
                waiting.append(left)
        return waiting, sorted(notes)

    async def inbox(self) -> list[Entry]:
        """The files that the partner left, oldest first, those of transfers under way left out."""
        found = await self._files(self.folders.inbox)
        return [one for one in found if not any(fnmatch(one.name.lower(), pattern) for pattern in self.ignore)]

    async def _take(self, entry: Entry, at: datetime, notes: set[str]) -> str:
        path = f"{self.folders.inbox}/{entry.name}"
        scan, digest = await self._scanned(path, entry)
        if scan.unfinished and not self._settled(entry):
            return f"{entry.name} is not whole yet"
        labels = set(scan.labels)
        if scan.unfinished or scan.refused:
            labels = {"bad"}
        else:
            labels |= await self._seen_before(scan, digest)
        if "dup" in labels:
            labels = {"dup"}
        notes |= scan.notes
        target = name_of(at, labels, digest, entry.name)
        await self.box.move(path, f"{self.folders.own('taken')}/{target}")
        if labels & {"bad", "dup"}:
            log.warning("edi_file_set_aside", connection=self.name, file=entry.name, labels=sorted(labels))
        return ""

    async def _scanned(self, path: str, entry: Entry) -> tuple[Scan, str]:
        """What a file is, and its digest. A file that cannot even be read is refused; one that grows is not whole."""
        if entry.size > self.largest:
            refused = f"the file has {entry.size} bytes, more than the {self.largest} allowed"
            return Scan(refused=refused), hashlib.sha256(entry.name.encode()).hexdigest()
        if entry.size == 0:
            return Scan(unfinished=True), hashlib.sha256(b"").hexdigest()
        try:
            with await self.open(path) as spooled:
                scan = await asyncio.to_thread(self.dialect.scan, spooled.file)
                digest = spooled.digest
        except Broken as error:
            return Scan(refused=error.detail), hashlib.sha256(entry.name.encode()).hexdigest()
        after = await self.box.stat(path)
        if after is None:
            raise NotFound(f"{entry.name} was taken away", code="no_file")
        if after.size != entry.size:
            scan.unfinished = True
        return scan, digest

    def _settled(self, entry: Entry) -> bool:
        """Whether nobody has written to the file for so long that nobody will."""
        return clock.now() - entry.modified > self.settle

    async def _seen_before(self, scan: Scan, digest: str) -> set[str]:
        """`dup` for a file that came before, byte for byte; `bad` where the settings want a reused control number
        refused. Marks the file otherwise. The mark is written before the file is moved: if the process dies between,
        the file would be its own duplicate, so a mark counts only while its file is kept."""
        if not scan.control:
            return set()
        mark = f"{self.folders.own('marks')}/{_safe(scan.control)}"
        try:
            said = (await self.box.read_bytes(mark, 4096)).decode("utf-8", "replace").split()
        except NotFound:
            said = []
        if digest[:12] in said:
            if await self._kept(digest[:12]):
                return {"dup"}
        elif said and self.reused == "refuse":
            return {"bad"}
        else:
            await self.box.write(mark, " ".join([*said[-50:], digest[:12]]).encode())
        return set()

    async def _kept(self, digest: str) -> bool:
        """Whether a file with this digest is kept anywhere."""
        for folder in [self.folders.own("taken"), *reversed(await self._days("archive"))]:
            if any(one.digest == digest for one in await self._kept_in(folder)):
                return True
        return False

    async def _kept_in(self, folder: str) -> list[Taken]:
        return [one for entry in await self._files(folder) if (one := parsed(entry.name)) is not None]

    async def _files(self, folder: str) -> list[Entry]:
        """The files of a folder; none when it is not there yet."""
        try:
            return await self.box.files(folder)
        except NotFound:
            return []

    async def _days(self, kind: str) -> list[str]:
        top = self.folders.own(kind)
        return [f"{top}/{day}" for day in await self.box.folders(top)]

    async def taken(self) -> list[Taken]:
        """The files in `taken`, oldest first."""
        return sorted(await self._kept_in(self.folders.own("taken")))

    async def acknowledge_taken(self, files: Sequence[Taken]) -> None:
        """Answer the files that came, each once, whatever was interrupted before."""
        if not self.acknowledge or not files:
            return
        staged = {entry.name.rpartition(".")[0] for entry in await self._files(self.folders.own("staging"))}
        for one in files:
            reference = f"ack_{one.digest}"
            if one.has("dup"):
                continue
            if await self.box.stat(self._sent_path(reference)) is not None:
                if reference in staged:  # the last attempt died just before the delivery
                    await self.deliver(reference)
                continue
            try:
                with await self.open(self.path_of(one)) as spooled:
                    scan = await asyncio.to_thread(self.dialect.scan, spooled.file)
                    if not scan.control or scan.unfinished:
                        continue
                    if one.has("bad") and not scan.refused:
                        scan.refused = "its control number came before with another file"
                    number = await self.number()
                    spooled.file.seek(0)
                    body = self.dialect.receipt(scan, spooled.file, number, clock.now())
            except (Broken, NotFound):
                continue
            if body is None:
                await self.box.write(self._sent_path(reference), b"")  # looked at; nothing to answer
            else:
                await self.send(reference, body, number, "ack")

    async def move_on(self, since: datetime) -> None:
        """Move the files to the archive that the run which began at `since` has landed and that no longer describe the
        present."""
        files = await self.taken()
        needed = {one.name for one, _ in (*current(files, "CAT", "cat"), *current(files, "STK", "stk"))}
        proven = stamp_of(since - PROVEN)
        done = [one for one in files if one.stamp < proven and one.name not in needed]
        for one in done[:MOST_AT_ONCE]:
            kind = "refused" if one.has("bad") else "archive"
            try:
                await self.box.move(self.path_of(one), f"{self.folders.own(kind)}/{one.day}/{one.name}")
            except (NotFound, Conflict):
                continue

    def path_of(self, one: Taken) -> str:
        return f"{self.folders.own('taken')}/{one.name}"

    async def open(self, path: str) -> Spooled:
        """The file, landed; Broken for one that cannot be read."""
        spooled = await self.box.read(path, Limits(total_bytes=self.largest))
        spooled.file.seek(0)
        return spooled

    # Out ------------------------------------------------------------------------------------------------------

    async def number(self) -> int:
        """A control number that no other file of ours has or will have."""
        for _ in range(10_000):
            number = self._last = max(int((clock.now() - _EPOCH).total_seconds()), self._last + 1)
            if await self.box.create(f"{self.folders.own('numbers')}/{number:09d}"):
                return number
        raise Retry("no free control number", code="no_number", after=10.0)

    async def send(self, reference: str, body: bytes, number: int, kind: str) -> bytes:
        """Deliver `body` under our own `reference`, once: whatever was sent under it before stays. Returns the bytes
        that were delivered. Raises Retry when the outcome is unknown: `sent` and `undelivered` tell it."""
        staged = self._staged_path(reference, number)
        await self.box.write(staged, body)
        try:
            await self.box.write(self._sent_path(reference), self._record(number, kind) + body, replace=False)
        except Conflict:
            await self.box.delete(staged)
        return await self.deliver(reference)

    async def deliver(self, reference: str) -> bytes:
        """Rename a letter that is staged into the outbox; nothing to do for one that was delivered."""
        number, kind, body = await self._kept_copy(reference)
        target = f"{self.folders.outbox}/{kind}_{_safe(reference)}_{number}.edi"
        try:
            await self.box.move(self._staged_path(reference, number), target)
        except NotFound:
            pass  # delivered before
        except Conflict:  # the move of another attempt came through after all
            await self.box.delete(self._staged_path(reference, number))
        return body

    async def sent(self, reference: str) -> bytes | None:
        """Our copy of the letter sent under `reference`, or None when there is none."""
        try:
            return (await self._kept_copy(reference))[2]
        except NotFound:
            return None

    async def undelivered(self, reference: str) -> bool:
        """Whether the letter is prepared and was not delivered."""
        number, _, _ = await self._kept_copy(reference)
        return await self.box.stat(self._staged_path(reference, number)) is not None

    async def withdraw(self, reference: str) -> bool:
        """Take back a letter that was never delivered; False when it was. It and the delivery both rename the staged
        letter, so one of them alone succeeds."""
        number, _, _ = await self._kept_copy(reference)
        staged, gone = self._staged_path(reference, number), f"{self.folders.own('staging')}/withdrawn_{number}"
        try:
            await self.box.move(staged, gone)
        except NotFound:
            if await self.box.stat(gone) is None:  # else an earlier withdrawal was interrupted here
                return False
        await self.box.delete(self._sent_path(reference))
        await self.box.delete(gone)
        return True

    def _record(self, number: int, kind: str) -> bytes:
        return f"{number} {kind}\n".encode()

    async def _kept_copy(self, reference: str) -> tuple[int, str, bytes]:
        raw = await self.box.read_bytes(self._sent_path(reference), 2**24)
        head, _, body = raw.partition(b"\n")
        number, _, kind = head.decode("ascii", "replace").partition(" ")
        if not number.isdigit():
            raise NotFound("nothing was sent under this reference", code="no_file")
        return int(number), kind, body

    def _sent_path(self, reference: str) -> str:
        return f"{self.folders.own('sent')}/{_safe(reference)}"

    def _staged_path(self, reference: str, number: int) -> str:
        return f"{self.folders.own('staging')}/{_safe(reference)}.{number}"

    # What partners said ---------------------------------------------------------------------------------------

    async def facts(self, since: datetime) -> list[Fact]:
        """What order documents that came since `since` say, oldest first: those still in the inbox too, so that an
        answer need not wait for a pull. The folders are looked at in the order in which files move through them, so
        that none is missed on its way."""
        newest: list[Fact] = []
        for entry in await self.inbox():
            if 0 < entry.size <= PEEK_BYTES:
                path = f"{self.folders.inbox}/{entry.name}"
                newest += await self._told_by(path, f"{path}:{entry.size}:{entry.modified.isoformat()}", peek=True)
        first = stamp_of(since - timedelta(days=1))
        found = await self._told_in(self.folders.own("taken"), first)
        for folder in await self._days("archive"):
            if folder[-10:].replace("-", "") >= first[:8]:
                found += await self._told_in(folder, first)
        said: list[Fact] = []
        for one, path in sorted({one.name: (one, path) for one, path in found}.values()):
            said += await self._told_by(path, one.name)
        return said + newest

    async def _told_in(self, folder: str, first: str) -> list[tuple[Taken, str]]:
        kept = await self._kept_in(folder)
        return [(one, f"{folder}/{one.name}") for one in kept if one.has(*ORDER_LABELS) and one.stamp >= first]

    async def _told_by(self, path: str, key: str, *, peek: bool = False) -> list[Fact]:
        known = _told.get((self.name, key))
        if known is not None:
            _told.move_to_end((self.name, key))
            return known
        try:
            with await self.open(path) as spooled:
                if peek:
                    scan = await asyncio.to_thread(self.dialect.scan, spooled.file)
                    if not scan.usable:
                        return []
                    spooled.file.seek(0)
                said = await asyncio.to_thread(self.dialect.facts, spooled.file)
        except NotFound:  # it moved on
            moved = parsed(path.rpartition("/")[2])
            if peek or moved is None or "/archive/" in path:
                return []
            return await self._told_by(f"{self.folders.own('archive')}/{moved.day}/{moved.name}", key)
        except Broken:
            return []
        _told[self.name, key] = said
        while len(_told) > MOST_TOLD:
            _told.popitem(last=False)
        return said


def forget(name: str | None = None) -> None:
    """Drop what was read of one connection's documents, or of all (tests)."""
    for key in [key for key in _told if name is None or key[0] == name]:
        del _told[key]


def _safe(reference: str) -> str:
    """A reference as a file's name: itself where that is safe, and its fingerprint otherwise."""
    if _REFERENCE.fullmatch(reference):
        return reference
    return "x-" + hashlib.sha256(reference.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def options(config: dict[str, Any]) -> dict[str, Any]:
    """The post office's part of a connection's settings."""
    extra = tuple(part.strip().lower() for part in str(config.get("ignore_files") or "").split(",") if part.strip())
    return {
        "folders": Folders(str(config["inbox"]), str(config["outbox"]), str(config["workspace"])),
        "settle": timedelta(minutes=int(config["settle_minutes"])),
        "largest": int(config["largest_mb"]) * 2**20,
        "ignore": (*PostOffice.ignore, *extra),
        "acknowledge": bool(config["acknowledge"]),
        "reused": str(config["reused_numbers"]),
    }
