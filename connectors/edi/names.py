"""Names of the files that were taken in. A taken file's name says when the hub first saw it, what is in it and what it
was called, so that a list of names answers which files matter:

    20261125T101512.123456Z~CAT.1f2e3d4c~9a8b7c6d5e4f~price.edi

Labels: `CAT.<id>` a whole catalogue (with a fingerprint of its number), `cat` changes of one, `STK.<id>` a whole stock
report (of these locations), `stk` changes, `ans` order acknowledgements, `asn` ship notices, `inv` invoices, `ack`
acknowledgements of what we sent, `bad` unusable, `dup` came before, `oth` anything else."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import NamedTuple

_NAME = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)~([A-Za-z0-9.\-]+)~([0-9a-f]{12})~(.*)")
_SAFE = re.compile(r"[^\w.\-]+")
LABEL_LIMIT = 12  # labels with fingerprints in one name; a file with more catalogues counts as changes


class Taken(NamedTuple):
    """A file that was taken in, by its name. They sort by the time when they were first seen."""

    stamp: str
    labels: frozenset[str]
    digest: str
    original: str
    name: str

    @property
    def day(self) -> str:
        return f"{self.stamp[:4]}-{self.stamp[4:6]}-{self.stamp[6:8]}"

    def has(self, *labels: str) -> bool:
        return any(label in self.labels for label in labels)

    def whole(self, label: str) -> set[str]:
        """The whole catalogues (label CAT) or stock reports (STK) in it."""
        return {one for one in self.labels if one.startswith(label + ".")}


def stamp_of(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")


def fingerprint(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def name_of(when: datetime, labels: set[str], digest: str, original: str) -> str:
    """The name under which a file is kept."""
    kept = sorted(labels) or ["oth"]
    if len(kept) > LABEL_LIMIT:
        kept = sorted({label if "." not in label else label.partition(".")[0].lower() for label in kept})
    plain = _SAFE.sub("_", original)[-60:]
    return f"{stamp_of(when)}~{'-'.join(kept)}~{digest[:12]}~{plain}"


def parsed(name: str) -> Taken | None:
    """What a taken file's name says; None for a name that we did not give."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    return Taken(found[1], frozenset(found[2].split("-")), found[3], found[4], name)


def current(files: list[Taken], whole: str, part: str) -> list[tuple[Taken, frozenset[str]]]:
    """The files that describe the present, newest first: of each whole catalogue (or stock report) the newest, and the
    changes since the oldest of these. Beside each stand the catalogues (by fingerprint) of which it must not be
    believed, since a newer file holds them whole."""
    found: list[tuple[Taken, frozenset[str]]] = []
    covered: set[str] = set()
    newest_first = sorted(files, key=lambda one: one.name, reverse=True)
    bases = [one.name for one in newest_first if one.whole(whole)]
    for one in newest_first:
        before = frozenset(label.partition(".")[2] for label in covered)
        if one.whole(whole) - covered:
            covered |= one.whole(whole)
            found.append((one, before))
        elif one.has(part):
            found.append((one, before))
    oldest = min((one.name for one, _ in found if one.name in set(bases)), default="")
    return [(one, before) for one, before in found if one.name >= oldest]
