"""How far a fault test has come: a bar on a terminal, a line every few seconds elsewhere, nothing in the suite."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import Progress

LINE_EVERY_S = 5.0

_show: Callable[[str, int, int], None] | None = None


def report(what: str, done: int, total: int) -> None:
    """`done` of `total` pieces of `what` are done."""
    if _show is not None:
        _show(what, done, total)


@contextlib.contextmanager
def shown(name: str, console: Console) -> Iterator[None]:
    """Show the progress of the test `name` for the length of the block."""
    global _show
    with _bar(name, console) if console.is_terminal else contextlib.nullcontext(_lines(name, console)) as show:
        _show = show
        try:
            yield
        finally:
            _show = None


@contextlib.contextmanager
def _bar(name: str, console: Console) -> Iterator[Callable[[str, int, int], None]]:
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda what, done, total: bar.update(
            task, description=f"{name}: {what}", completed=done, total=total, refresh=True
        )


def _lines(name: str, console: Console) -> Callable[[str, int, int], None]:
    started = said = time.monotonic()

    def show(what: str, done: int, total: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= LINE_EVERY_S:
            said = now
            console.print(f"{name:12} {now - started:5.0f} s  {what} {done:,} of {total:,}", highlight=False)

    return show
