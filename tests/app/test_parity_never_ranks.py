"""No code path joins a parity finding to ranking, fees or a vendor's price. Read from the code and the schema: who
knows anything of pricing at all, what for, and that whatever puts things in an order is not among them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from hub.kernel import db
from hub.kernel.db import Database, metadata

ROOT = Path(__file__).parents[2]
PACKAGES = ("hub", "connectors", "catalog", "orders", "fulfillment")
TABLES = sorted(name for name in metadata.tables if name.startswith("pricing_"))
SHOWS, HOLDS, FEEDS = "shows the verdict", "leaves out what a mall holds", "gives prices to be judged"

# What each module outside pricing does with it. Whoever needs another call must first say here what it is for; an
# order of results, a fee or a price is no answer. (`held` is a mall's own choice, never an order.)
KNOWS = {
    "catalog/landing.py": {"check": FEEDS, "forget_listings": FEEDS},
    "catalog/ingest.py": {"forget_listings": FEEDS},
    "catalog/observing.py": {"record_references": FEEDS, "note_unmatched": FEEDS},
    "catalog/prices.py": {"check": FEEDS, "guard_moves": FEEDS, "weigh_packs": FEEDS, "forget_held": HOLDS},
    "catalog/offers.py": {"held": HOLDS},
    "catalog/reading.py": {
        "held_for_mall": HOLDS, "refused_for_mall": HOLDS, "standing_verdicts": SHOWS, "verdicts": SHOWS,
    },
    "hub/app/wiring.py": {"expire_verdicts": FEEDS, "recheck": FEEDS},
    "hub/app/web.py": {"count_live_listings_with": SHOWS},
    "hub/app/operations.py": {"forget_old_observations": FEEDS},
    "hub/app/references_command.py": {"SKEW": FEEDS},
    "hub/app/demo/__init__.py": {"parity_counts": SHOWS, "held_count": SHOWS},
}  # fmt: skip
ORDERING = (  # whatever decides which product or offer comes first
    "catalog/search.py", "catalog/finding.py", "catalog/queryplan.py", "catalog/segment.py", "catalog/store/shown.py",
    "catalog/store/products.py", "catalog/store/tables.py", "orders/routing.py",
)  # fmt: skip
WORDS = ("parity", "verdict", "breach", "pricing")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("hub/migrations/"):
                yield name, ast.parse(path.read_text(encoding="utf-8"))


def uses(tree: ast.Module) -> set[str]:
    """The functions of pricing.api that a module names."""
    doors = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "pricing":
            doors |= {alias.asname or alias.name for alias in node.names if alias.name == "api"}
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"pricing.api", *doors}:
            found.add(node.attr)
        if isinstance(node, ast.ImportFrom) and node.module in ("pricing.api", "pricing.store", "pricing.cases"):
            found |= {alias.name for alias in node.names}
    return found - {"api"}


def strings(tree: ast.Module) -> Iterator[str]:
    """Every string of the code that is no documentation."""
    told = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def test_everybody_who_knows_of_pricing_has_said_what_for() -> None:
    assert {name: found for name, tree in modules() if (found := uses(tree))} == {
        name: set(calls) for name, calls in KNOWS.items()
    }


def test_only_pricing_reads_its_tables() -> None:
    assert len(TABLES) >= 10
    assert [
        (name, text[:80])
        for name, tree in modules()
        for text in strings(tree)
        if any(table in text for table in TABLES)
    ] == []


def test_whatever_orders_results_knows_nothing_of_parity() -> None:
    looked_at = {name: tree for name, tree in modules() if name in ORDERING}
    assert set(looked_at) == set(ORDERING)
    for name, tree in looked_at.items():
        if name == "orders/routing.py":
            continue
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        names |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)} | set(strings(tree))
        imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom) for a in n.names}
        imported |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        known = sorted(t for t in names | imported if any(word in t.casefold() for word in WORDS))
        assert known == [], name


def test_routing_leaves_out_what_a_mall_holds_and_orders_the_rest_without_asking() -> None:
    tree = ast.parse((ROOT / "orders/routing.py").read_text(encoding="utf-8"))
    readers = {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and "parity" in node.attr
    }
    assert readers == {"rank"}
    [rank] = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "rank"]
    keys = [ast.unparse(n) for n in ast.walk(rank) if isinstance(n, ast.Call) and ast.unparse(n.func) == "sorted"]
    assert keys == ["sorted(stocked, key=_preference)"]


async def test_nothing_in_the_database_follows_from_parity_by_itself(database: Database) -> None:
    """No view, trigger, rule, function or foreign key of the schema joins pricing's tables to anybody else's."""
    triggers = await db.read(
        "SELECT t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
        "WHERE NOT t.tgisinternal AND c.relname LIKE 'pricing%'"
    )
    views = await db.read("SELECT viewname FROM pg_views WHERE definition LIKE '%pricing_%' AND schemaname = 'public'")
    functions = await db.read(
        "SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE n.nspname = 'public' AND prosrc LIKE '%pricing_%'"
    )
    joined = await db.read(
        "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint WHERE contype = 'f' "
        "AND (conrelid::regclass::text LIKE 'pricing%') <> (confrelid::regclass::text LIKE 'pricing%')"
    )
    assert (triggers, views, functions) == ([], [], [])
    assert {tuple(row.values()) for row in joined} == {("pricing_policies", "malls")}
