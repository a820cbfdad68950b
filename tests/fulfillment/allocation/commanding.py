"""The commands as an operator types them."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub.app.cli import main


def supplyhub(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `supplyhub WORDS` in a folder, in this process."""
    said, warned, code = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(folder), contextlib.redirect_stdout(said), contextlib.redirect_stderr(warned),
        pytest.MonkeyPatch.context() as patch,
    ):  # fmt: skip
        patch.setattr(sys, "argv", ["supplyhub", *words])
        try:
            main()
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else int(left.code is not None)
    return subprocess.CompletedProcess(words, code, said.getvalue(), warned.getvalue())


def typed(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `supplyhub WORDS` in a folder, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hub.app.cli", *words], cwd=folder, capture_output=True, text=True, timeout=60,
        check=False, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
