"""The command line. Exit codes: 0 done, 1 failed, 2 bad usage; an error is one line that says what to do."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from hub.app.vendor_cli import connector_app, vendor_app
from hub.kernel.errors import HubError
from hub.kernel.settings import settings

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
mall_app = typer.Typer(no_args_is_help=True, help="Malls (tenants that buy).")
key_app = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(vendor_app, name="vendor")
app.add_typer(connector_app, name="connector")
app.add_typer(mall_app, name="mall")
app.add_typer(key_app, name="key")


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

    asyncio.run(run_scheduler())


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

    typer.echo(f"the schema is at {asyncio.run(work())}")


@app.command()
def doctor() -> None:
    """Say in words what is wrong."""
    from hub.app.doctor import examine

    findings = asyncio.run(examine())
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

    if not asyncio.run(sync_vendor(vendor, full=full, say=typer.echo)):
        raise typer.Exit(1)


@app.command()
def reindex(
    again: Annotated[bool, typer.Option("--again", help="All titles, even if nothing in the rules changed.")] = False,
) -> None:
    """Cut titles into search words anew, after an upgrade that says so. May be stopped and run again at any time."""
    from hub.app.commands import reindex_titles

    with _progress("reindexing", lines=True) as progress:
        read, changed = asyncio.run(reindex_titles(progress, again=again))
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

    if not asyncio.run(observe_file(file, source, captured_at, report, say)):
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


@mall_app.command("add")
def mall_add(name: Annotated[str, typer.Argument(help="The mall's name.")]) -> None:
    """Add a mall."""
    from hub.app.commands import add_mall

    typer.echo(f"mall {asyncio.run(add_mall(name))}")


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

    _say_whose(mall, vendor, staff)
    typer.echo(asyncio.run(create_key(mall=mall, vendor=vendor, label=label, per_minute=per_minute)))


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

    _say_whose(mall, vendor, staff)
    typer.echo(
        f"{asyncio.run(set_key_quota(mall=mall, vendor=vendor, label=label, per_minute=per_minute))} keys changed"
    )


def _say_whose(mall: str | None, vendor: str | None, staff: bool) -> None:
    if sum((mall is not None, vendor is not None, staff)) != 1:
        raise typer.BadParameter("say exactly one of --mall, --vendor, --staff")


def _fail(words: str) -> NoReturn:
    typer.echo(f"supplyhub: {words}", err=True)
    raise SystemExit(1)


def main() -> None:
    """Entry point: expected errors become one line and exit code 1."""
    try:
        app()
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
