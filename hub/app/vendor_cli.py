"""The commands about vendors and connectors, and a person at a terminal who answers their questions."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

vendor_app = typer.Typer(no_args_is_help=True, help="Vendors and their connections.")
connector_app = typer.Typer(no_args_is_help=True, help="Connectors: list, scaffold, check, try.")


@vendor_app.command("add")
def vendor_add(
    name: Annotated[str, typer.Option(help="The vendor's name.")] = "",
    connector: Annotated[str, typer.Option(help="One of `supplyhub connector list`.")] = "",
    config: Annotated[str, typer.Option(help="Connection settings as JSON or @FILE (JSON or YAML).")] = "{}",
    secrets: Annotated[str, typer.Option(help="Secrets as JSON, @FILE, or - for standard input.")] = "{}",
    name_en: Annotated[str, typer.Option(help="English name.")] = "",
    role: Annotated[str, typer.Option(help="supply or reference.")] = "supply",
    every: Annotated[int, typer.Option(min=30, help="Seconds between pulls.")] = 900,
) -> None:
    """Add a vendor and its connection. On a terminal and without --connector or --config it asks, tests and shows."""
    from hub.app.commands import add_vendor

    if sys.stdin.isatty() and (not connector or config == "{}"):
        from rich.console import Console

        from hub.app.onboarding import guide

        asyncio.run(guide(_Terminal(), Console(), name=name, connector=connector))
        return
    if not name or not connector:
        raise typer.BadParameter("give --name and --connector, or run it on a terminal to be asked")
    connection = asyncio.run(
        add_vendor(
            name=name, name_en=name_en, connector=connector, config=_document(config, "config"),
            secrets=_document(secrets, "secrets"), role=role, every_s=every,
        )
    )  # fmt: skip
    typer.echo(f"connection {connection} added; `supplyhub sync '{name}'` pulls it now")


@vendor_app.command("list")
def vendor_list() -> None:
    """List vendors with their connections."""
    from hub.app.commands import list_vendors

    for line in asyncio.run(list_vendors()):
        typer.echo(line)


@connector_app.command("list")
def connector_list() -> None:
    """List connectors and what each can do."""
    from hub.app.commands import list_connectors

    for line in list_connectors():
        typer.echo(line)


@connector_app.command("new")
def connector_new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, underscores.")],
    into: Annotated[Path | None, typer.Option(help="Folder that holds the connectors.")] = None,
) -> None:
    """Scaffold a connector that already passes the contract kit."""
    from hub.app.commands import new_connector

    typer.echo(new_connector(name, into))


@connector_app.command("check")
def connector_check(
    name: Annotated[str, typer.Argument(help="A connector, or --all.")] = "",
    everything: Annotated[bool, typer.Option("--all", help="Check every connector.")] = False,
) -> None:
    """Run the contract kit on a connector."""
    from hub.app.commands import check_connectors

    if not name and not everything:
        raise typer.BadParameter("name a connector or say --all")
    if not asyncio.run(check_connectors(None if everything else name, say=typer.echo)):
        raise typer.Exit(1)


@connector_app.command("try")
def connector_try(
    name: Annotated[str, typer.Argument(help="A connector.")],
    config: Annotated[str, typer.Option(help="Connection settings as JSON or @FILE.")] = "{}",
    secrets: Annotated[str, typer.Option(help="Secrets as JSON, @FILE, or - for standard input.")] = "{}",
) -> None:
    """Pull 20 listings from the real thing and show them mapped. Stores nothing."""
    from hub.app.commands import try_connector

    config_, secrets_ = _document(config, "config"), _document(secrets, "secrets")
    if not asyncio.run(try_connector(name, config_, secrets_, say=typer.echo)):
        raise typer.Exit(1)


class _Terminal:
    """A person at a terminal."""

    def text(self, question: str, default: str = "", *, hidden: bool = False) -> str:
        shown = not (hidden and default)
        return str(typer.prompt(question, default=default, hide_input=hidden, show_default=shown and bool(default)))

    def choose(self, question: str, choices: Sequence[str], default: str) -> str:
        shown = f"{question} ({', '.join(choices)})" if len(choices) < 8 else question
        while (answer := str(typer.prompt(shown, default=default))) not in choices:
            typer.echo(f"answer one of {', '.join(choices)}")
        return answer

    def yes(self, question: str, default: bool) -> bool:
        return typer.confirm(question, default=default)


def _document(text: str, what: str) -> dict[str, Any]:
    """JSON or YAML given directly, as @FILE, or as - from standard input."""
    import yaml

    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except OSError as error:
            raise typer.BadParameter(f"cannot read {text[1:]}: {error.strerror}") from error
    try:
        value = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"{what} is neither JSON nor YAML") from error
    if not isinstance(value, dict):
        raise typer.BadParameter(f"{what} must be a JSON object or a YAML mapping")
    return value
