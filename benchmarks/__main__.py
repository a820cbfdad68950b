"""`make bench`: runs the benchmarks, prints a table, writes JSON. Exit code 1 when a target is missed."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

NAMES = (
    "ingest", "read", "push", "freshness", "order", "bulkhead", "matching", "matching_step", "pulls", "allocation",
    "webhooks", "parity", "search",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--only", help=f"one of {', '.join(NAMES)}")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--n", type=int, help="products, for a quick look; the figures hold for the usual number")
    chosen = parser.parse_args()
    names = [chosen.only] if chosen.only else list(NAMES)
    unknown = set(names) - set(NAMES)
    if unknown:
        parser.error(f"there is no benchmark {unknown.pop()}; they are {', '.join(NAMES)}")
    rows: list[dict[str, Any]] = []
    for name in names:
        module = importlib.import_module(f"benchmarks.{name}")
        if chosen.n and hasattr(module, "PRODUCTS"):
            module.PRODUCTS = chosen.n
        rows += asyncio.run(module.run())
    table = Table(title="supplyhub benchmarks, each beside its limit in the same run")
    for column in ("figure", "value", "unit", "limit", "ratio", "target", "limit is", "ok"):
        table.add_column(column, justify="right" if column in ("value", "limit", "ratio", "target") else "left")
    for row in rows:
        table.add_row(
            row["name"], f"{row['value']:,.1f}", row["unit"], f"{row['limit']:,.1f}" if row["limit"] else "-",
            f"{row['ratio']:.2f}" if row["ratio"] else "-", f"{row['target']:,.1f}", row["limit_name"],
            "yes" if row["ok"] else "NO",
        )  # fmt: skip
    Console(width=150).print(table)
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, ensure_ascii=False, indent=1))
    return 0 if all(row["ok"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
