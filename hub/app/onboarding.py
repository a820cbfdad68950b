"""`supplyhub vendor add` on a terminal: asks for what the connector's manifest declares, tests the connection step by
step, shows its first rows as they would be mapped, and takes it live when told to. What was answered so far is kept as
a draft, so that nothing is lost when somebody breaks off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table

import connectors.api
from hub.app import runtime
from hub.app.commands import OPERATOR
from hub.kernel import audit, db
from hub.kernel.errors import HubError, Rejected

GOOD, BAD = "✓", "✗"


class Ask(Protocol):
    """Whoever answers: a person at a terminal, or a test."""

    def text(self, question: str, default: str = "", *, hidden: bool = False) -> str: ...

    def choose(self, question: str, choices: Sequence[str], default: str) -> str: ...

    def yes(self, question: str, default: bool) -> bool: ...


async def guide(ask: Ask, console: Console, *, name: str = "", connector: str = "") -> int:
    """Bring one vendor to life; returns the connection's id, live or still a draft."""
    known = {about.id: about for about in connectors.api.describe_all() if about.problem is None}
    name = name or ask.text("The vendor's name 供应商名称")
    if not connector:
        _show_connectors(console, list(known.values()))
        connector = ask.choose("Its system 对接系统", sorted(known), "table_feed")
    about = known.get(connector)
    if about is None:
        raise Rejected(f"there is no connector {connector!r}; `supplyhub connector list` shows them")
    role = ask.choose("Does it supply goods, or only reference prices? 供货/参考价", ("supply", "reference"), "supply")
    async with runtime.connected():
        connection_id: int | None = None
        settings: dict[str, str] = {}
        while True:
            config, secrets = _settings(ask, console, about, settings)
            try:
                connection_id = await _keep(connection_id, name, connector, role, config, secrets)
            except HubError as error:
                console.print(f"{BAD} {error}")
                continue
            if await _looks_well(console, connection_id) and ask.yes("Take it live now? 现在上线", True):
                async with db.uow() as tx:
                    await connectors.api.set_status(tx, connection_id, "live")
                    await audit.record(tx, OPERATOR, "connection.live", f"connection:{connection_id}", {})
                console.print(f"{GOOD} connection {connection_id} is live; `supplyhub sync '{name}'` pulls it at once")
                return connection_id
            if not ask.yes("Change the settings and try again? 修改设置后重试", False):
                console.print(
                    f"connection {connection_id} stays a draft. `supplyhub vendor add` again, or "
                    f"PATCH /v1/connections/{connection_id} and POST …/live, goes on from here"
                )
                return connection_id


def _show_connectors(console: Console, known: Sequence[connectors.api.ConnectorInfo]) -> None:
    table = Table("connector", "系统", "what it can do")
    for about in known:
        table.add_row(about.id, about.title, ", ".join(sorted(about.capabilities)))
    console.print(table)


def _settings(
    ask: Ask, console: Console, about: connectors.api.ConnectorInfo, before: dict[str, str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """One question a setting; what was answered before is offered again. Maps and the like are left to their defaults
    unless they are required: they are edited in a file (`--config @FILE`)."""
    config: dict[str, Any] = {}
    secrets: dict[str, str] = {}
    for setting in about.settings:
        must = " (needed 必填)" if setting.required else ""
        question = f"{setting.title or setting.name} [{setting.name}]{must}"
        if setting.type == "map":
            if setting.required:
                console.print(f"{setting.name} is a map: write it as YAML into a file and pass --config @FILE")
            continue
        if setting.secret:
            answer = ask.text(question, before.get(setting.name, ""), hidden=True)
            if answer:
                secrets[setting.name] = before[setting.name] = answer
            continue
        default = before.get(setting.name, "" if setting.default is None else str(setting.default))
        if setting.choices:
            answer = ask.choose(question, setting.choices, default or setting.choices[0])
        else:
            answer = ask.text(question, default)
        before[setting.name] = answer
        if answer and answer != ("" if setting.default is None else str(setting.default)):
            config[setting.name] = answer
    return config, secrets


async def _keep(
    connection_id: int | None, name: str, connector: str, role: Any, config: dict[str, Any], secrets: dict[str, str]
) -> int:
    """Keep what was answered as a draft."""
    async with db.uow() as tx:
        if connection_id is not None:
            await connectors.api.change_connection(tx, connection_id, config=config, secrets=secrets)
            return connection_id
        known = [int(row["id"]) for row in await connectors.api.list_vendors(tx) if row["name"] == name.strip()]
        vendor_id = known[0] if known else await connectors.api.add_vendor(tx, name.strip())
        made = await connectors.api.add_connection(
            tx, vendor_id=vendor_id, connector=connector, name=f"{name} ({connector})", config=config, secrets=secrets,
            role=role, draft=True,
        )  # fmt: skip
        await audit.record(tx, OPERATOR, "connection.add", f"connection:{made}", {"connector": connector})
        return made


async def _looks_well(console: Console, connection_id: int) -> bool:
    """The steps of the test, then the first rows, problems first; True when rows can be used."""
    tested = await connectors.api.try_connection(connection_id)
    for step in tested.steps:
        whose = f"  ({step.who} can mend it)" if step.who and not step.ok else ""
        console.print(f"{GOOD if step.ok else BAD} {step.detail}{whose}")
    if not tested.ok:
        return False
    if all(step.name != "rows" for step in tested.steps):
        return True
    try:
        shown = await connectors.api.preview_connection(connection_id)
    except HubError as error:
        console.print(f"{BAD} {error}")
        return False
    table = Table("", "SKU", "title 名称", "price 价格", "stock 库存", title="the first rows 前 20 行")
    for row in shown.rows:
        if row.mapped is None:
            table.add_row(BAD, row.vendor_sku or "?", f"{row.problem} {row.pointer}", "", "")
        else:
            left = row.mapped.on_hand if row.mapped.on_hand is not None else row.mapped.level
            stock = "" if left is None else str(left)
            price = f"{row.mapped.price} {row.mapped.currency}"
            table.add_row(GOOD, row.mapped.vendor_sku, row.mapped.title, price, stock)
    console.print(table)
    if shown.drift:
        console.print(f"the vendor also sends, and nobody mapped: {', '.join(shown.drift)}")
    return any(row.mapped is not None for row in shown.rows)
