"""A feed's files in a folder, on an SFTP server or below the hub's feeds directory: the one that is named, or the
newest that fits a pattern. A file that is still being written is not read, and one that changed while it was read does
not count."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import SecretStr

from connectors.mailbox import Entry, Mailbox, open_mailbox, parts_of
from connectors.table_feed.config import FeedConfig, is_pattern
from connectors.tables import Limits, Spooled
from hub.kernel.errors import Broken, Misconfigured, NotFound, Retry

MOST_CHANGES = 2_000  # files of changes read in one pull
OVERLAP = timedelta(hours=1)  # the vendor's clock is not ours
_UNTOLD = 1980  # a file older than this has no time


class Files:
    """The files that a connection's `file` names. Making one calls nobody; raises Misconfigured for a path or mailbox
    that cannot be. Close it after use."""

    def __init__(self, feed: FeedConfig, config: Mapping[str, Any], secrets: Mapping[str, SecretStr]) -> None:
        assert feed.file is not None, "feed_config demands it"
        self._file = feed.file
        self._folder, _, self._name = feed.file.rpartition("/")
        self._feed = feed
        self._many = is_pattern(self._name)
        parts_of(self._folder if self._many else feed.file)
        if feed.file.startswith("/") or not self._name:
            raise Misconfigured(f"{feed.file[:200]!r} is not a path inside the mailbox", code="bad_mailbox_path")
        self._box: Mailbox = open_mailbox(config if feed.host is not None else {"directory": "."}, secrets)

    async def aclose(self) -> None:
        """Disconnect."""
        await self._box.aclose()

    async def newest(self, now: datetime) -> Entry:
        """The file to read. Raises Misconfigured when there is none, Retry when it is still being written."""
        fitting = await self._fitting()
        resting = [entry for entry in fitting if self._rests(entry, now)]
        if resting:
            return resting[-1]
        if fitting:
            raise Retry(f"{fitting[-1].name} is still being written", code="file_unfinished", after=self._feed.rest_s)
        raise Misconfigured(f"there is no file {self._file!r}", code="no_feed")

    async def changed(self, since: datetime | None, now: datetime) -> list[Entry]:
        """The files of changes that came since then, newest first. What is still being written comes next time."""
        wanted = [entry for entry in await self._fitting() if entry.size and self._rests(entry, now)]
        if since is not None:
            wanted = [e for e in wanted if e.modified.year < _UNTOLD or e.modified >= since - OVERLAP]
        if len(wanted) > MOST_CHANGES:
            raise Broken(f"{len(wanted)} files of changes wait; at most {MOST_CHANGES} are read", code="too_many_files")
        return wanted[::-1]

    async def read(self, entry: Entry, limits: Limits) -> Spooled:
        """The file, landed. Raises Retry when somebody wrote to it meanwhile."""
        path = f"{self._folder}/{entry.name}" if self._folder else entry.name
        try:
            spooled = await self._box.read(path, limits)
            after = await self._box.stat(path)
        except NotFound:
            raise Retry(f"{entry.name} was taken away", code="file_changed", after=5.0) from None
        if after is None or (after.size, after.modified) != (entry.size, entry.modified):
            spooled.close()
            raise Retry(f"{entry.name} was written to while it was read", code="file_changed", after=5.0)
        return spooled

    async def _fitting(self) -> list[Entry]:
        """The files that `file` names, oldest first."""
        if not self._many:
            entry = await self._box.stat(self._file)
            return [entry] if entry is not None else []
        try:
            there = await self._box.files(self._folder or ".")
        except NotFound:
            return []
        found = [entry for entry in there if fnmatch.fnmatchcase(entry.name, self._name)]
        return sorted(found, key=lambda entry: entry.name) if self._feed.newest_by == "name" else found

    def _rests(self, entry: Entry, now: datetime) -> bool:
        """Whether nobody wrote to it just now, as far as its clock and ours agree. A single file of our own is put
        there by people who know what they do."""
        if self._feed.host is None and not self._many:
            return True
        return abs((now - entry.modified).total_seconds()) >= self._feed.rest_s


def time_of(entry: Entry, now: datetime) -> datetime:
    """When what the file says was true: its own time, unless it has none or that lies ahead."""
    return now if entry.modified.year < _UNTOLD else min(entry.modified, now)
