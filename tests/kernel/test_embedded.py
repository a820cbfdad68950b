"""Embedded servers start anywhere, twice, and leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hub.kernel.embedded import Embedded


def _alive(data_dir: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if str(data_dir) in command:
            found.append(command)
    return found


def test_a_long_path_with_spaces_works_and_stops_cleanly(tmp_path: Path) -> None:
    data_dir = tmp_path / "a folder with spaces 数据" / ("x" * 120)
    servers = Embedded(data_dir)
    servers.start()
    try:
        assert len(str(servers.run_dir)) < 80
        again = Embedded(data_dir)
        again.start()  # finds both running
        again.stop()  # and stops neither, having started neither
        assert servers._psql("supplyhub", "SELECT 1") == "1"
    finally:
        servers.stop()
    assert _alive(data_dir) == []
    assert not servers.run_dir.exists()


def test_servers_die_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from hub.kernel.embedded import Embedded;"
        "Embedded(pathlib.Path(sys.argv[1])).start(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False, cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 15
    while _alive(tmp_path / "postgres") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _alive(tmp_path / "postgres") == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root has to hand PostgreSQL to another user")
def test_root_changes_no_mode_on_the_way_to_the_data(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o700)
    servers = Embedded(locked / "data")
    servers.start()
    try:
        assert locked.stat().st_mode & 0o777 == 0o700
    finally:
        servers.stop()
