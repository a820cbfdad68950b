"""`make chaos`: runs the fault tests at full size, prints a table, writes JSON. Each test sets up its own servers in
a temporary folder. Exit codes: 0 every promise held, 1 one did not (or a negative control saw nothing, or a test could
not finish), 2 bad usage."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hub.kernel import log
from hub.kernel.settings import settings
from tests.chaos import progress

NAMES = (
    "reserve", "stock_order", "outbox", "signatures", "idempotency", "lost_answer", "push_kill", "kill",
    "reconciling",
)  # fmt: skip


def main() -> int:
    """Parse the command line, run what it names, and say how it went."""
    parser = argparse.ArgumentParser(prog="make chaos", description="Fault tests; each counts broken promises.")
    parser.add_argument("--only", metavar="NAME", help=f"one or more of {', '.join(NAMES)}, comma-separated")
    parser.add_argument("--n", type=int, metavar="COUNT", help="size of each test; without it each takes its own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    chosen = parser.parse_args()
    names = chosen.only.split(",") if chosen.only else list(NAMES)
    if unknown := sorted(set(names) - set(NAMES)):
        parser.error(f"there is no fault test {unknown[0]!r}; they are {', '.join(NAMES)}")
    if chosen.n is not None and chosen.n < 1:
        parser.error("N is at least 1")
    if chosen.json and not chosen.json.absolute().parent.is_dir():
        parser.error(f"there is no folder {chosen.json.absolute().parent}")
    os.environ.setdefault("SUPPLYHUB_LOG_LEVEL", "CRITICAL")
    log.configure(settings())
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    rows = [_run(name, chosen.n, console) for name in names]
    _show(rows, console)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, ensure_ascii=False, indent=1))
    return 0 if all(row["ok"] for row in rows) else 1


def _run(name: str, n: int | None, console: Console) -> dict[str, Any]:
    """One test's result: name, n, violations, control_violations (where there is a control), seconds, ok, and the
    other counts as `facts`."""
    module = importlib.import_module(f"tests.chaos.{name}")
    size = n or module.FULL
    console.print(f"{name:12} starts with {size:,}")
    started = time.monotonic()
    row: dict[str, Any] = {"name": name, "n": size}
    try:
        with progress.shown(name, console):
            counts = dict(asyncio.run(module.run(size)))
    except Exception as error:
        traceback.print_exc()
        row |= {"violations": 1, "seconds": _since(started), "ok": False}
        return {**row, "error": f"{type(error).__name__}: {error}"[:500]}
    row["violations"] = counts.pop("violations")
    if "control_violations" in counts:
        row["control_violations"] = counts.pop("control_violations")
    row["seconds"] = _since(started)
    row["ok"] = row["violations"] == 0 and row.get("control_violations") != 0
    counts.pop("n", None)
    console.print(f"{name:12} ended after {row['seconds']} s: " + ", ".join(f"{k} {v:,}" for k, v in counts.items()))
    return {**row, "facts": counts}


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


def _show(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table(title="Broken promises under faults; a control runs with the guard removed and must break it")
    for column in ("test", "N", "violations", "control violations", "seconds", "ok"):
        table.add_column(column, justify="left" if column in ("test", "ok") else "right")
    for row in rows:
        control = row.get("control_violations")
        table.add_row(
            row["name"], f"{row['n']:,}", f"{row['violations']:,}" if "error" not in row else row["error"][:40],
            f"{control:,}" if control is not None else "-", f"{row['seconds']:,.1f}", "yes" if row["ok"] else "NO",
        )  # fmt: skip
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
