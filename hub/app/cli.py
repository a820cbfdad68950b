"""The command line. Exit codes: 0 done, 1 failed, 2 bad usage; an error is one line that says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from hub.kernel.errors import HubError, Misconfigured
from hub.kernel.settings import settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
vendor_app = typer.Typer(no_args_is_help=True, help="Vendors and their connections.")
connector_app = typer.Typer(no_args_is_help=True, help="Connectors: list, scaffold, check, try.")
mall_app = typer.Typer(no_args_is_help=True, help="Malls (tenants that buy).")
key_app = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(vendor_app, name="vendor")
app.add_typer(connector_app, name="connector")
app.add_typer(mall_app, name="mall")
app.add_typer(key_app, name="key")


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


@app.command()
def up() -> None:
    """Run the whole hub here: embedded servers unless URLs are set, web, workers, scheduler. Ctrl-C stops it."""
    from hub.app.up import running
    from hub.kernel import log

    log.configure(settings())
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with running(say=typer.echo) as hub:
        typer.echo(f"ready at {hub.base_url} (API description: {hub.base_url}/docs). Ctrl-C stops.")
        stop.wait()
        typer.echo("stopping")


@app.command()
def serve() -> None:
    """Run the web server only."""
    from hub.app.web import serve as run_web

    run_web()


@app.command()
def worker(
    queues: Annotated[str, typer.Option(help="Comma-separated: flow, sync, match.")] = "flow,sync,match",
    concurrency: Annotated[int, typer.Option(min=1, help="Tasks that may wait at once.")] = 4,
    name: Annotated[str, typer.Option(help="Name of this worker.")] = "worker",
) -> None:
    """Run a worker only."""
    from hub.app.worker import QUEUES, run_worker

    chosen = [queue.strip() for queue in queues.split(",") if queue.strip()]
    unknown = sorted(set(chosen) - set(QUEUES))
    if unknown or not chosen:
        raise typer.BadParameter(f"queues are {', '.join(QUEUES)}")
    run_worker(chosen, concurrency, name)


@app.command()
def scheduler() -> None:
    """Run the scheduler only. Any number may run."""
    from hub.app.scheduler import run_scheduler

    _run(run_scheduler())


@app.command()
def migrate(
    to: Annotated[str, typer.Option(help="Revision; older ones go back.")] = "head",
) -> None:
    """Bring the schema to the newest revision (or to --to)."""
    from hub.app import migrate as schema
    from hub.app import runtime

    async def work() -> str:
        async with runtime.connected() as urls:
            if to == "head":
                await schema.upgrade(urls.database)
            else:
                await schema.downgrade(urls.database, to)
            current, _newest = await schema.current_and_newest(urls.database)
            return current or "base"

    typer.echo(f"the schema is at {_run(work())}")


@app.command()
def doctor() -> None:
    """Say in words what is wrong."""
    from hub.app.doctor import examine

    findings = _run(examine())
    mark = {"ok": "ok  ", "warn": "look", "bad": "BAD "}
    for finding in findings:
        typer.echo(f"{mark[finding.verdict]}  {finding.check}: {finding.words}")
    if any(finding.verdict == "bad" for finding in findings):
        raise typer.Exit(1)


@app.command()
def sync(
    vendor: Annotated[str, typer.Argument(help="Vendor name or id.")],
    full: Annotated[bool, typer.Option("--full", help="A complete sweep instead of what changed.")] = False,
) -> None:
    """Pull a vendor's listings and stock now."""
    from hub.app.commands import sync_vendor

    if not _run(sync_vendor(vendor, full=full, say=typer.echo)):
        raise typer.Exit(1)


@app.command()
def reindex(
    again: Annotated[bool, typer.Option("--again", help="All titles, even if nothing in the rules changed.")] = False,
) -> None:
    """Cut titles into search words anew, after an upgrade that says so. May be stopped and run again at any time."""
    from hub.app.commands import reindex_titles

    with _progress("reindexing", lines=True) as progress:
        read, changed = _run(reindex_titles(progress, again=again))
    typer.echo(f"{read} products read, {changed} changed" if read else "nothing to do")


_Demands = Annotated[Path, typer.Option(help="CSV: site, item, quantity, tier, cap.")]
_Supplies = Annotated[Path, typer.Option(help="CSV: warehouse, item, quantity, lot, expires.")]
_LeadTimes = Annotated[Path, typer.Option(help="CSV: warehouse, site, hours, cost.")]
_Deadline = Annotated[str, typer.Option("--deadline-hours", help="No way may take longer.")]
_Start = Annotated[
    str, typer.Option(help="When goods leave, where lots expire on a date. Default: the next full hour.")
]


@app.command()
def allocate(
    demands: _Demands,
    supplies: _Supplies,
    lead_times: _LeadTimes,
    out: Annotated[Path, typer.Option(help="The plan, CSV: warehouse, site, item, lot, quantity.")],
    certificate: Annotated[Path, typer.Option(help="The proof, JSON.")],
    deadline: _Deadline = "48",
    seed: Annotated[int, typer.Option(min=0, help="Decides ties.")] = 0,
    start: _Start = "",
    strict: Annotated[bool, typer.Option("--strict", help="Refuse input that would otherwise be ignored.")] = False,
    compare: Annotated[bool, typer.Option("--compare", help="Show first come, first served and pro rata too.")] = False,
    why: Annotated[list[str] | None, typer.Option(help="A site: say why it got what it got.")] = None,
    explanations: Annotated[Path | None, typer.Option(help="CSV of why every site got what it got.")] = None,
) -> None:
    """Split scarce supplies fairly among sites, with a certificate. Needs no server."""
    from hub.app.allocate_command import Inputs, begin, hours
    from hub.app.allocate_command import allocate as run

    inputs = Inputs(demands, supplies, lead_times, hours(deadline), begin(start) if start else None, seed)
    run(
        inputs, out, certificate, strict=strict, compare=compare, why=why or (), explanations=explanations,
        say=typer.echo, warn=_warn,
    )  # fmt: skip


@app.command("verify-plan")
def verify_plan(
    demands: _Demands,
    supplies: _Supplies,
    lead_times: _LeadTimes,
    plan: Annotated[Path, typer.Option("--plan", "--out", help="The plan to check.")],
    certificate: Annotated[Path, typer.Option(help="Its certificate.")],
    deadline: _Deadline = "",
    seed: Annotated[int | None, typer.Option(min=0, help="Insist on this seed.")] = None,
    start: _Start = "",
) -> None:
    """Check a plan against its input and certificate, without a solver. Exit code 0 when every guarantee holds."""
    from hub.app.allocate_command import Inputs, begin, hours, verify

    given = {"deadline_hours": bool(deadline), "seed": seed is not None, "start": bool(start)}
    inputs = Inputs(
        demands, supplies, lead_times, hours(deadline or "48"), begin(start) if start else None, seed or 0
    )  # fmt: skip
    pinned = frozenset(name for name, said in given.items() if said)
    if not verify(inputs, plan, certificate, pinned, say=typer.echo, warn=_warn):
        raise typer.Exit(1)


def _warn(words: str) -> None:
    typer.echo(f"note: {words}", err=True)


@app.command()
def demo(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report as JSON too.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards.")] = False,
    drill: Annotated[bool, typer.Option("--drill", help="The lockdown drill alone.")] = False,
) -> None:
    """Run the main job on embedded servers and sandbox vendors, and print a report."""
    from hub.app.demo import run_demo, run_drill

    if not (run_drill if drill else run_demo)(json_file=json_file, keep=keep):
        raise typer.Exit(1)


@app.command("references")
def load_references(
    file: Annotated[
        Path,
        typer.Argument(
            help="A table with sku, title, price and gtin, or brand and model.", exists=True, dir_okay=False
        ),
    ],
    source: Annotated[str, typer.Option(help="Whose prices these are.")],
    captured_at: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z"], help="When they were seen, with a zone; else now."
        ),
    ] = None,
    report: Annotated[Path, typer.Option(help="The CSV file that says what became of each line.")] = Path(
        "references-report.csv"
    ),
) -> None:
    """Record mainstream prices that somebody gathered in a table."""
    from hub.app.references_command import observe_file

    def say(words: str) -> None:
        typer.echo(words)

    if not _run(observe_file(file, source, captured_at, report, say)):
        raise typer.Exit(1)


@app.command("match")
def match_tables(
    left: Annotated[
        Path, typer.Argument(help="A table with id, title and what else there is.", exists=True, dir_okay=False)
    ],
    right: Annotated[Path | None, typer.Argument(help="The other table.", exists=True, dir_okay=False)] = None,
    out: Annotated[Path, typer.Option(help="The CSV file to write.")] = Path("pairs.csv"),
    cluster: Annotated[bool, typer.Option("--cluster", help="One table of many vendors, put together.")] = False,
) -> None:
    """Find which rows of two tables are the same goods, or with --cluster which rows of one table of many vendors."""
    from hub.app.match_command import cluster_file, match_files

    if cluster == (right is not None):
        raise typer.BadParameter("give two tables, or one table with --cluster")

    def say(words: str) -> None:
        typer.echo(words, err=True)

    with _progress("matching") as progress:
        if right is None:
            cluster_file(left, out, say, progress)
        else:
            match_files(left, right, out, say, progress)


@contextlib.contextmanager
def _progress(what: str, *, lines: bool = False) -> Iterator[Callable[[float], None]]:
    """A bar on a terminal; elsewhere nothing, or with `lines` one for every tenth."""
    if not sys.stderr.isatty():
        said = 0

        def say(share: float) -> None:
            nonlocal said
            if lines and int(share * 10) > said:
                said = int(share * 10)
                typer.echo(f"{what}: {said * 10} %", err=True)

        yield say
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=1.0)
        yield lambda share: bar.update(task, completed=share)


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

        _run(guide(_Terminal(), Console(), name=name, connector=connector))
        return
    if not name or not connector:
        raise typer.BadParameter("give --name and --connector, or run it on a terminal to be asked")
    connection = _run(
        add_vendor(
            name=name, name_en=name_en, connector=connector, config=_document(config, "config"),
            secrets=_document(secrets, "secrets"), role=role, every_s=every,
        )
    )  # fmt: skip
    typer.echo(f"connection {connection} added; `supplyhub sync '{name}'` pulls it now")


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


@vendor_app.command("list")
def vendor_list() -> None:
    """List vendors with their connections."""
    from hub.app.commands import list_vendors

    for line in _run(list_vendors()):
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
    if not _run(check_connectors(None if everything else name, say=typer.echo)):
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
    if not _run(try_connector(name, config_, secrets_, say=typer.echo)):
        raise typer.Exit(1)


@mall_app.command("add")
def mall_add(name: Annotated[str, typer.Argument(help="The mall's name.")]) -> None:
    """Add a mall."""
    from hub.app.commands import add_mall

    typer.echo(f"mall {_run(add_mall(name))}")


@key_app.command("create")
def key_create(
    mall: Annotated[str | None, typer.Option(help="Mall name or id.")] = None,
    vendor: Annotated[str | None, typer.Option(help="Vendor name or id.")] = None,
    staff: Annotated[bool, typer.Option("--staff", help="A procurement key.")] = False,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    per_minute: Annotated[
        int | None, typer.Option(min=0, max=10**8, help="Calls a minute; 0: no limit. Default: as its scope.")
    ] = None,
) -> None:
    """Create an API key. It is shown once."""
    from hub.app.commands import create_key

    if sum((mall is not None, vendor is not None, staff)) != 1:
        raise typer.BadParameter("say exactly one of --mall, --vendor, --staff")
    typer.echo(_run(create_key(mall=mall, vendor=vendor, label=label, per_minute=per_minute)))


@key_app.command("quota")
def key_quota(
    mall: Annotated[str | None, typer.Option(help="Mall name or id.")] = None,
    vendor: Annotated[str | None, typer.Option(help="Vendor name or id.")] = None,
    staff: Annotated[bool, typer.Option("--staff", help="A procurement key.")] = False,
    label: Annotated[str, typer.Option(help="The label that the key was created with.")] = "",
    per_minute: Annotated[
        int | None, typer.Option(min=0, max=10**8, help="Calls a minute; 0: no limit. Absent: as its scope.")
    ] = None,
) -> None:
    """Change how many calls a minute a key may make."""
    from hub.app.commands import set_key_quota

    if sum((mall is not None, vendor is not None, staff)) != 1:
        raise typer.BadParameter("say exactly one of --mall, --vendor, --staff")
    typer.echo(f"{_run(set_key_quota(mall=mall, vendor=vendor, label=label, per_minute=per_minute))} keys changed")


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


def _fail(words: str) -> NoReturn:
    typer.echo(f"supplyhub: {words}", err=True)
    raise SystemExit(1)


def main() -> None:
    """Entry point: expected errors become one line and exit code 1."""
    try:
        app()
    except Misconfigured as error:
        _fail(str(error))
    except HubError as error:
        _fail(str(error))
    except ValidationError as error:
        if error.title != "Settings":
            raise
        first = error.errors()[0]
        _fail(f"SUPPLYHUB_{str(first['loc'][0]).upper()}: {first['msg']}")
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
