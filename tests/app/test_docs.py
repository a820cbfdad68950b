"""The documentation names what the code has: every setting, manifest key, capability, check and command, no more."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import SecretStr

from connectors import kit, manifest
from connectors.contracts import Capability, ListingIn
from fulfillment.allocation.tables import Demand, LeadTime, Supply
from hub.app import wiring
from hub.app.cli import app
from hub.kernel import metrics, webhook_lanes, webhooks
from hub.kernel.errors import Misconfigured
from hub.kernel.settings import Settings
from orders import lifecycle
from orders.policy import Policy

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "connector-guide.md").read_text(encoding="utf-8")
OPERATIONS = (DOCS / "operations.md").read_text(encoding="utf-8")
SCALING = (DOCS / "scaling.md").read_text(encoding="utf-8")
ALLOCATION = (DOCS / "allocation.md").read_text(encoding="utf-8")
EXAMPLE = re.search(r"```yaml\n(.*?)```", GUIDE.split("## A whole manifest", 1)[1], re.DOTALL)


def settings_rows() -> list[str]:
    """The table of settings as docs/operations.md must hold it."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, SecretStr):
            raise AssertionError(f"{name} has a secret default")
        shown = "unset" if default is None else "empty" if default == "" else f"`{default}`"
        rows.append(f"| `SUPPLYHUB_{name.upper()}` | {shown} | {field.description} |")
    return rows


def manifest_keys() -> set[tuple[str, str]]:
    """(part, key) of everything a manifest may say."""
    parts = [part for _, part in inspect.getmembers(manifest, inspect.isclass) if issubclass(part, manifest.Part)]
    assert len(parts) > 15
    return {(part.__name__, field.alias or name) for part in parts for name, field in part.model_fields.items()}


def commands(group: Any, prefix: str = "supplyhub") -> set[str]:
    """Every command as a person types it."""
    found = set()
    for name, command in group.commands.items():
        found |= commands(command, f"{prefix} {name}") if hasattr(command, "commands") else {f"{prefix} {name}"}
    return found


def test_every_setting_stands_in_the_operations_page_with_its_default_and_meaning() -> None:
    missing = [row for row in settings_rows() if row not in OPERATIONS]
    assert missing == []


def test_no_page_names_a_setting_that_does_not_exist() -> None:
    known = {f"SUPPLYHUB_{name.upper()}" for name in Settings.model_fields}
    for page in DOCS.rglob("*.md"):
        named = set(re.findall(r"SUPPLYHUB_[A-Z_]+[A-Z]", page.read_text(encoding="utf-8")))
        assert named <= known, page.name


def test_every_manifest_key_stands_in_the_guide() -> None:
    assert sorted(key for key in manifest_keys() if f"`{key[1]}`" not in GUIDE) == []


def test_the_guides_manifest_loads_as_it_stands() -> None:
    assert EXAMPLE is not None
    parsed = manifest.parse(EXAMPLE[1])
    assert parsed.id == "acme" and parsed.push is not None and parsed.place_orders is not None


def test_one_unknown_key_in_the_guides_manifest_is_refused() -> None:
    assert EXAMPLE is not None
    with pytest.raises(Misconfigured, match="pull_listings"):
        manifest.parse(EXAMPLE[1].replace("  records: data\n", "  records: data\n  recrods: data\n", 1))


def test_the_guide_names_every_capability_and_every_check_and_no_other() -> None:
    def rows_under(heading: str) -> set[str]:
        section = GUIDE.split(f"## {heading}", 1)[1].split("\n## ", 1)[0]
        return set(re.findall(r"^\| `([a-z_]+)` \|", section, re.MULTILINE))

    assert rows_under("Capabilities") == {capability.value for capability in Capability}
    assert rows_under("What the kit promises") == set(kit.checks())


def test_the_fields_that_the_guides_map_fills_exist() -> None:
    assert EXAMPLE is not None
    parsed = manifest.parse(EXAMPLE[1])
    assert parsed.pull_listings is not None
    assert set(parsed.pull_listings.map.fields) <= set(ListingIn.model_fields)


def test_every_command_stands_in_the_operations_page() -> None:
    typed = commands(typer.main.get_command(app))
    assert "supplyhub vendor add" in typed
    for command in typed:
        words = command.split()
        if len(words) == 3:  # a group: its name once, each of its commands in the same row
            row = next((line for line in OPERATIONS.splitlines() if f"`supplyhub {words[1]} " in line), "")
            assert re.search(rf"`(supplyhub {words[1]} )?{words[2]}\b", row), command
        else:
            assert f"`{command}" in OPERATIONS, command


def test_no_page_names_a_command_that_does_not_exist() -> None:
    typed = commands(typer.main.get_command(app))
    groups = {command.split()[1] for command in typed if len(command.split()) == 3}
    for page in (GUIDE, OPERATIONS, SCALING, ALLOCATION):
        for first, second in re.findall(r"`supplyhub ([a-z-]+)(?: ([a-z]+))?", page):
            command = f"supplyhub {first} {second}" if first in groups else f"supplyhub {first}"
            assert command in typed, command


def test_the_allocation_page_names_every_option_of_its_commands_and_every_column() -> None:
    group: Any = typer.main.get_command(app)
    options = {
        option
        for name in ("allocate", "verify-plan")
        for parameter in group.commands[name].params
        for option in parameter.opts
        if option != "--help"
    }
    assert {"--demands", "--certificate", "--deadline-hours"} <= options
    assert sorted(option for option in options if not re.search(rf"{option}\b", ALLOCATION)) == []
    for table in (Demand, Supply, LeadTime):
        assert [column for column in table._fields if f"`{column}`" not in ALLOCATION] == []


def test_every_metric_stands_in_the_operations_page() -> None:
    declared = {
        f"{metric._name}{'_total' if type(metric).__name__ == 'Counter' else ''}"
        for metric in vars(metrics).values()
        if hasattr(metric, "_name")
    }
    assert len(declared) > 5
    assert sorted(name for name in declared if f"`{name}`" not in OPERATIONS) == []
    for page in (OPERATIONS, SCALING):
        assert set(re.findall(r"supplyhub_[a-z_]+", page)) <= declared


def test_links_between_pages_lead_somewhere() -> None:
    for page in DOCS.rglob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} -> {target}"


def test_every_message_that_is_told_stands_in_the_page_of_webhooks() -> None:
    page = (DOCS / "webhooks.md").read_text(encoding="utf-8")
    rows = [f"| `{kind}` | {', '.join(sorted(who))} | {when} |" for kind, (who, when) in webhooks.TYPES.items()]
    assert [row for row in rows if row not in page] == []
    assert "24 h, then it counts" in page and webhook_lanes.LADDER[-1] == 86_400 and len(webhook_lanes.LADDER) == 9


def test_the_lives_of_orders_are_drawn_as_the_code_has_them() -> None:
    page = (DOCS / "ordering.md").read_text(encoding="utf-8")
    drawn = re.findall(r"```mermaid\n(.*?)\n```", page, re.DOTALL)
    assert sorted(drawn) == sorted(lifecycle.drawing(kind) for kind in lifecycle.TRANSITIONS)


def test_the_ordering_page_names_every_weight_and_only_routes_that_exist() -> None:
    page = (DOCS / "ordering.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z]+)` \|", page, re.MULTILINE) == list(Policy.model_fields)
    served = {f"{route.method} {route.prefix}{route.path}" for route in wiring.ROUTES}
    named = set(re.findall(r"`((?:GET|POST|PUT) /v1/[a-z/{}-]+)`", page))
    assert len(named) > 5 and named <= served
