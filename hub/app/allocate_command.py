"""`supplyhub allocate` and `supplyhub verify-plan`: files in, files out. They need neither a server nor a
database."""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

from fulfillment.allocation import reading
from fulfillment.allocation.checker import check
from fulfillment.allocation.figures import measure
from fulfillment.allocation.snapshot import Snapshot, freeze
from fulfillment.allocation.tables import SupplyTable
from fulfillment.allocation.text import Sheet
from fulfillment.allocation.writing import as_table, csv_bytes, plan_csv
from hub.kernel.errors import Broken, Rejected

if TYPE_CHECKING:
    from fulfillment.allocation.solver import Plan

Say = Callable[[str], None]
TOLD = 50


@dataclass(frozen=True)
class Inputs:
    """The three input files and what else decides a plan."""

    demands: Path
    supplies: Path
    leads: Path
    deadline_hours: Decimal
    start: datetime | None
    seed: int


def allocate(
    inputs: Inputs, out: Path, certificate: Path, *, strict: bool, compare: bool, why: Sequence[str],
    explanations: Path | None, say: Say, warn: Say,
) -> None:  # fmt: skip
    """Solve, check, and write the plan and its certificate. Nothing is written unless the checker found nothing."""
    from fulfillment.allocation.certificate import as_json
    from fulfillment.allocation.solver import solve

    _distinct(inputs, {"--out": out, "--certificate": certificate, "--explanations": explanations})
    began = time.perf_counter()
    snapshot = _snapshot(inputs, strict=strict, warn=warn)
    read = time.perf_counter()
    plan = solve(snapshot)
    solved = time.perf_counter()
    document, table = as_json(plan.certificate), as_table(plan)
    findings = check(snapshot, table, json.loads(document))
    if findings:
        raise Broken(f"nothing was written: the plan does not stand up to its own checker: {findings[0]}")
    checked = time.perf_counter()
    told, files = _explained(plan, why, explanations)
    _write({out: plan_csv(table), certificate: document, **files})
    for line in _summary(plan):
        say(line)
    leaving = f", start {snapshot.start}" if snapshot.start else ""
    say(
        f"certified: snapshot {snapshot.sha256[:16]}{leaving}, plan {plan.sha256[:16]}; "
        f"read {read - began:.2f} s, solved {solved - read:.2f} s, checked {checked - solved:.2f} s"
    )
    for line in (*(_side_by_side(plan) if compare else ()), *told):
        say(line)


def _summary(plan: Plan) -> list[str]:
    figures, items = plan.figures, plan.snapshot.items
    lines = [
        f"{figures.units:,} of {figures.wanted:,} units for {figures.served:,} of {figures.demands:,} demands "
        f"({figures.filled:,} in full); cost {figures.money}, {figures.splits:,} split deliveries"
    ]
    for item, name in enumerate(items if 1 < len(items) <= TOLD else ()):
        one = measure(plan.snapshot, plan.supply, plan.demand, plan.units, item=item)
        lines.append(f"  {name}: {one.units:,} of {one.wanted:,} units, {one.served:,} of {one.demands:,} demands")
    return lines


def _side_by_side(plan: Plan) -> list[str]:
    from fulfillment.allocation.comparing import compare

    lines = [f"{'':<22}{'units':>14}{'sites':>10}{'worst':>8}{'gini':>8}{'jain':>8}{'cost':>18}{'splits':>9}"]
    for way in compare(plan):
        named = [(way.name, way.figures)]
        if len(way.tiers) > 1:
            named += [(f"  tier {tier}", figures) for tier, figures in way.tiers.items()]
        lines += [
            f"{name:<22}{one.units:>14,}{one.served:>10,}{one.worst_share:>8.1%}{one.gini:>8.3f}{one.jain:>8.3f}"
            f"{one.money:>18}{one.splits:>9,}"
            for name, one in named
        ]
    return lines


def _explained(plan: Plan, sites: Sequence[str], file: Path | None) -> tuple[list[str], dict[Path, bytes]]:
    """What is said of these sites, and the file about all of them."""
    if not sites and not file:
        return [], {}
    from fulfillment.allocation.explaining import Explainer, words

    explainer, deadline = Explainer(plan), plan.snapshot.deadline
    lines = [words(one, deadline) for site in sites for one in explainer.site(site)]
    if not file:
        return lines, {}
    header = ("site", "item", "tier", "asked", "counted", "granted", "reason", "words")
    rows = [
        (one.site, one.item, one.tier, one.asked, one.counted, one.granted, one.reason, words(one, deadline))
        for one in explainer.all()
    ]
    return lines, {file: csv_bytes(header, rows)}


def verify(inputs: Inputs, plan: Path, certificate: Path, pinned: frozenset[str], say: Say, warn: Say) -> bool:
    """Check a plan against the inputs and its certificate; one line for each thing that is wrong. What is not
    `pinned` (deadline_hours, start, seed) is taken from the certificate and said."""
    document = _document(certificate)
    inputs = _from_certificate(inputs, document, pinned, certificate)
    table = reading.read_plan(str(plan), _bytes(plan))
    snapshot = _snapshot(inputs, strict=False, warn=warn)
    findings = check(snapshot, table, document)
    for finding in findings[:TOLD]:
        say(str(finding))
    if len(findings) > TOLD:
        say(f"and {len(findings) - TOLD:,} more")
    if not findings:
        start = f", start {snapshot.start}" if snapshot.start else ""
        say(
            f"every guarantee holds: {len(table.units):,} rows, deadline {snapshot.deadline_hours} hours, "
            f"seed {snapshot.seed}{start}, snapshot {snapshot.sha256[:16]}"
        )
    return not findings


def hours(text: str) -> Decimal:
    """A number of hours as typed."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite():
        raise Rejected(f"--deadline-hours: {text!r} is not a number")
    return value


def begin(text: str) -> datetime:
    """A start as typed."""
    try:
        return reading.moment(text)
    except ValueError as error:
        raise Rejected(f"--start: {error}") from None


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Rows by the hundred thousand are no garbage; looking for some takes a quarter of the reading."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _snapshot(inputs: Inputs, *, strict: bool, warn: Say) -> Snapshot:
    with _uncollected():
        return _read(inputs, strict=strict, warn=warn)


def _read(inputs: Inputs, *, strict: bool, warn: Say) -> Snapshot:
    demands, sheet_d = reading.read_demands(str(inputs.demands), _bytes(inputs.demands))
    supplies, sheet_s = reading.read_supplies(str(inputs.supplies), _bytes(inputs.supplies))
    leads, sheet_l = reading.read_leads(str(inputs.leads), _bytes(inputs.leads))
    start = inputs.start or _next_hour(supplies)
    snapshot = freeze(
        demands, supplies, leads, deadline_hours=inputs.deadline_hours, start=start, seed=inputs.seed
    )  # fmt: skip
    notes = [note for sheet in (sheet_d, sheet_s, sheet_l) for note in _notes(sheet)] + list(snapshot.notes)
    if strict and notes:
        raise Rejected(notes[0])
    for note in notes:
        warn(note)
    return snapshot


def _notes(sheet: Sheet) -> list[str]:
    ignored = [f"{sheet.name} line 1: column {column!r} is not known; ignored" for column in sheet.ignored]
    return ignored + ([f"{sheet.name} was read as {sheet.encoding}"] if sheet.encoding != "UTF-8" else [])


def _next_hour(supplies: SupplyTable) -> datetime | None:
    """The start when nobody said one and a lot expires on a date: the next full hour, since nothing leaves before."""
    if not supplies.dated.any():
        return None
    now = datetime.now(UTC) + timedelta(hours=1) - timedelta(microseconds=1)
    return now.replace(minute=0, second=0, microsecond=0).astimezone(reading.ZONE)


def _from_certificate(inputs: Inputs, document: object, pinned: frozenset[str], path: Path) -> Inputs:
    if not isinstance(document, dict):
        raise Rejected(f"{path}: not a certificate")
    try:
        deadline = inputs.deadline_hours if "deadline_hours" in pinned else Decimal(str(document["deadline_hours"]))
        seed = inputs.seed if "seed" in pinned else int(document["seed"])
        said = str(document["start"])
        start = inputs.start if "start" in pinned or not said else datetime.fromisoformat(said)
    except (KeyError, ValueError, TypeError, InvalidOperation) as error:
        raise Rejected(f"{path}: not a certificate: {error}") from None
    return Inputs(inputs.demands, inputs.supplies, inputs.leads, deadline, start, seed)


def _document(path: Path) -> object:
    def refuse(name: str) -> object:
        raise ValueError(f"{name} is no number")

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key stands there twice")
        return dict(pairs)

    try:
        return json.loads(_bytes(path), parse_constant=refuse, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"{path}: not JSON: {error}") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Rejected(f"cannot read {path}: {error.strerror}") from None


def _distinct(inputs: Inputs, outputs: dict[str, Path | None]) -> None:
    """Refuse outputs that would overwrite an input or each other."""
    options = {"--demands": inputs.demands, "--supplies": inputs.supplies, "--lead-times": inputs.leads}
    taken = {path.resolve(): option for option, path in options.items()}
    for option, path in outputs.items():
        if path is not None and (other := taken.setdefault(path.resolve(), option)) != option:
            raise Rejected(f"{option} and {other} are the same file: {path}")


def _write(files: dict[Path, bytes]) -> None:
    """All files or, as far as a file system can promise it, none: each is written beside its place, then all are
    moved there."""
    written: dict[Path, Path] = {}
    path = Path()
    try:
        for path, content in files.items():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                written[path] = Path(file.name)
                file.write(content)
            written[path].chmod(0o644)
        for path, temporary in written.items():
            temporary.replace(path)
    except OSError as error:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
        raise Rejected(f"cannot write {path}: {error.strerror}") from None
