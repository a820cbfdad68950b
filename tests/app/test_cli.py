"""The command line as an operator types it: a hub for real use from `up` to Ctrl-C, exit codes, one-line errors."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from connectors.woocommerce.sandbox import WooSandbox
from hub.app.assortment import SHOP, woocommerce_products

pytestmark = pytest.mark.timeout(180)


def command(data_dir: Path, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run `supplyhub WORDS` on this data directory."""
    return subprocess.run(
        [sys.executable, "-m", "hub.app.cli", *words],
        input=stdin, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "SUPPLYHUB_DATA_DIR": str(data_dir), **env},
    )  # fmt: skip


@pytest.fixture
async def shop() -> AsyncIterator[WooSandbox]:
    made = WooSandbox(woocommerce_products(SHOP)[:30])
    await made.start()
    yield made
    await made.stop()


async def test_a_hub_is_run_stocked_examined_and_stopped(tmp_path: Path, shop: WooSandbox) -> None:
    data = tmp_path / "a hub's 数据"
    env = {"SUPPLYHUB_EGRESS_ALLOW": shop.host_port}
    up = subprocess.Popen(
        [sys.executable, "-m", "hub.app.cli", "up"], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "SUPPLYHUB_DATA_DIR": str(data), "SUPPLYHUB_PORT": "0", **env},
    )  # fmt: skip
    assert up.stdout is not None
    try:
        lines = []
        while not lines or "ready at" not in lines[-1]:
            line = await asyncio.to_thread(up.stdout.readline)
            assert line, "".join(lines)
            lines.append(line)
        assert re.search(r"ready at http://127\.0\.0\.1:\d+", lines[-1])

        second = await asyncio.to_thread(command, data, "up", SUPPLYHUB_PORT="0")
        assert second.returncode == 1 and "already runs" in second.stderr and "Traceback" not in second.stderr

        def run(*words: str, **more: str) -> str:
            done = command(data, *words, **{**env, **more})
            assert done.returncode == 0, (words, done.stdout, done.stderr)
            return done.stdout

        assert await asyncio.to_thread(run, "mall", "add", "甲公司") == "mall 1\n"
        key = await asyncio.to_thread(run, "key", "create", "--mall", "甲公司")
        assert key.startswith("shk_mall_")
        secrets = tmp_path / "secrets.json"
        secrets.write_text(json.dumps(shop.credentials()))
        config = json.dumps({"base_url": shop.base_url})
        added = await asyncio.to_thread(
            run, "vendor", "add", "--name", "禾惠", "--connector", "woocommerce", "--config", config,
            "--secrets", f"@{secrets}",
        )  # fmt: skip
        assert "connection 1 added" in added
        await asyncio.to_thread(command, data, "sync", "禾惠", **env)  # a worker may already be at it
        synced = await asyncio.to_thread(_until_synced, data, env)
        assert "complete sweep 20" in synced
        tried = await asyncio.to_thread(
            run, "connector", "try", "woocommerce", "--config", config, "--secrets", f"@{secrets}"
        )
        assert len(tried.splitlines()) >= 20 and "CNY" in tried
        findings = await asyncio.to_thread(run, "doctor")
        assert "BAD" not in findings and "counters equal the ledger" in findings
    finally:
        children = psutil.Process(up.pid).children(recursive=True)
        up.send_signal(signal.SIGINT)
        code = await asyncio.to_thread(up.wait, 40)
        up.stdout.close()
    assert code == 0
    _gone, alive = psutil.wait_procs(children, timeout=5)
    assert alive == [], "Ctrl-C left processes behind"


def _until_synced(data: Path, env: dict[str, str]) -> str:
    deadline = time.monotonic() + 60
    while True:
        listed = command(data, "vendor", "list", **env).stdout
        if "never" not in listed or time.monotonic() > deadline:
            return listed
        time.sleep(0.5)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nonsense",), 2, "No such command"),
        (("key", "create"), 2, "exactly one"),
        (("worker", "--queues", "moon"), 2, "flow, sync, match"),
        (("vendor", "add", "--name", "x", "--connector", "y", "--config", "[1"), 2, "JSON"),
        (("serve",), 1, "run `supplyhub up`"),
        (("sync", "nobody"), 1, "there is no vendor"),
        (("connector", "check", "no_such_system"), 1, "no_such_system"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(tmp_path: Path, words: tuple[str, ...], code: int, says: str) -> None:
    done = command(tmp_path, *words)
    told = done.stdout + done.stderr
    assert done.returncode == code, told
    assert says in told and "Traceback" not in told


def test_a_wrong_setting_is_named(tmp_path: Path) -> None:
    done = command(tmp_path, "doctor", SUPPLYHUB_PORT="many")
    assert done.returncode == 1
    assert "SUPPLYHUB_PORT" in done.stderr and "Traceback" not in done.stderr


def test_connectors_are_listed_scaffolded_and_checked(tmp_path: Path) -> None:
    listed = command(tmp_path, "connector", "list").stdout
    assert all(name in listed for name in ("woocommerce", "fhir_clinic", "table_feed"))
    made = command(tmp_path, "connector", "new", "acme_shop", "--into", str(tmp_path))
    assert made.returncode == 0, made.stderr
    checked = command(tmp_path, "connector", "check", str(tmp_path / "acme_shop"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("passed") > 10 and "failed" not in checked.stdout
