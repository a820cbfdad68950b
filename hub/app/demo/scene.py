"""The stage of the demo: sandbox vendors in a process of their own, a whole hub, and one client per role. The journey
test, the fault tests and the order benchmark play on the same stage."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from hub.app import up
from hub.kernel import clock, db, keys, store
from hub.kernel.embedded import die_with_parent
from hub.kernel.errors import HubError, Misconfigured
from hub.kernel.settings import reset_settings, settings


class Refused(HubError):
    """The hub answered a demo step with an error; carries its problem document."""


class Role:
    """An HTTP client with one API key."""

    def __init__(self, base_url: str, key: str) -> None:
        self.http = httpx.AsyncClient(
            base_url=base_url, headers={"Authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        )

    async def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The JSON answer; raises Refused with the problem's words for 4xx and 5xx."""
        answer = await self.http.request(method, path, json=body, **options)
        if answer.status_code >= 400:
            told_why = "json" in answer.headers.get("content-type", "")
            problem: dict[str, Any] = answer.json() if told_why else {"detail": answer.text}
            raise Refused(
                f"{method} {path}: {answer.status_code} {problem.get('detail')} {problem.get('errors', '')}",
                code=str(problem.get("type", "")).rpartition(":")[2],
                facts={"status": answer.status_code, **problem.get("facts", {})},
            )
        return answer.json() if answer.content else None

    async def get(self, path: str, **query: Any) -> Any:
        return await self.call("GET", path, params={k: v for k, v in query.items() if v is not None})

    async def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return await self.call("POST", path, body, headers={k.replace("_", "-"): v for k, v in headers.items()})

    async def pages(self, path: str, cursor: str = "after", **query: Any) -> list[Any]:
        """All items of a paged list whose `next` goes into the parameter `cursor`."""
        items: list[Any] = []
        after = None
        while True:
            page = await self.get(path, **{cursor: after}, **query)
            items += page["items"]
            after = page.get("next")
            if not after or not page["items"]:
                return items


@dataclass
class SandboxVendor:
    """One vendor of the sandbox process: how to connect to it."""

    key: str
    name: str
    name_en: str
    connector: str
    role: str
    config: dict[str, Any]
    secrets: dict[str, str]


@dataclass
class Scene:
    """Everything on stage."""

    hub: up.Hub
    staff: Role
    vendors: dict[str, SandboxVendor]
    control: httpx.AsyncClient
    clock_file: Path
    connections: dict[str, int] = field(default_factory=dict)
    vendor_ids: dict[str, int] = field(default_factory=dict)
    roles: list[Role] = field(default_factory=list)

    def now(self) -> datetime:
        """The hub's own time, which the demo moves."""
        return clock.now()

    async def move_clock(self, **ahead: float) -> None:
        """Let time pass (a timedelta's keywords) for the hub and its vendors."""
        offset = float(self.clock_file.read_text() or 0) + timedelta(**ahead).total_seconds()
        draft = self.clock_file.with_suffix(".new")
        draft.write_text(str(offset))
        draft.replace(self.clock_file)
        await asyncio.sleep(0.15)  # longer than a process may keep an offset it has read

    async def mall(self, name: str) -> Role:
        """A mall with a key of its own."""
        async with db.uow() as tx:
            key = await keys.create_key(tx, "mall", await store.add_mall(tx, name), "demo")
        return self._role(key)

    async def second_staff(self) -> Role:
        """Another person of the staff, with a key of their own."""
        async with db.uow() as tx:
            return self._role(await keys.create_key(tx, "staff", None, "demo, second person"))

    async def vendor(self, key: str) -> Role:
        """A vendor's own key."""
        async with db.uow() as tx:
            made = await keys.create_key(tx, "vendor", self.vendor_ids[key], "demo")
        return self._role(made)

    def _role(self, key: str) -> Role:
        role = Role(self.hub.base_url, key)
        self.roles.append(role)
        return role

    async def connect(self, *names: str) -> None:
        """Add vendors and their connections over the API, as procurement staff would."""
        for name in names or tuple(self.vendors):
            vendor = self.vendors[name]
            made = await self.staff.post("/v1/vendors", {"name": vendor.name, "name_en": vendor.name_en})
            self.vendor_ids[name] = made["id"]
            connection = await self.staff.post(
                "/v1/connections",
                {
                    "vendor_id": made["id"],
                    "connector": vendor.connector,
                    "name": vendor.name_en,
                    "role": vendor.role,
                    "config": vendor.config,
                    "secrets": vendor.secrets,
                    "sync_every_s": 86_400,
                },
            )
            self.connections[name] = connection["id"]

    async def pull(self, *names: str, timeout_s: float = 120) -> list[dict[str, Any]]:
        """Ask for a pull of each vendor and wait until the workers have done it; returns the newest runs."""
        names = names or tuple(self.connections)
        before = {name: (await self.last_run(name) or {"id": 0})["id"] for name in names}
        for name in names:
            await self.staff.post(f"/v1/connections/{self.connections[name]}/sync")
        runs = []
        for name in names:

            async def finished(name: str = name) -> dict[str, Any] | None:
                run = await self.last_run(name)
                return run if run and run["id"] > before[name] and run["status"] == "done" else None

            run = await until(finished, f"the pull of {name}", timeout_s)
            runs.append({**run, "vendor": name})
        return runs

    async def last_run(self, name: str) -> dict[str, Any] | None:
        """The newest pull of a vendor."""
        page = await self.staff.get("/v1/sync-runs", connection_id=self.connections[name], limit=1)
        return page["items"][0] if page["items"] else None

    async def play(self, what: str, **details: Any) -> Any:
        """Tell the sandbox vendors to do something (see hub.app.demo.vendors)."""
        answer = await self.control.post(f"/{what}", json=details)
        answer.raise_for_status()
        return answer.json()


async def until(look: Callable[[], Any], what: str, timeout_s: float = 60, pause_s: float = 0.05) -> Any:
    """Wait for `look()` to return something true; raises Misconfigured naming `what` when it does not in time."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while True:
        found = await look()
        if found:
            return found
        if asyncio.get_running_loop().time() > deadline:
            raise Misconfigured(f"{what} did not happen within {timeout_s:.0f} s")
        await asyncio.sleep(pause_s)


@contextlib.asynccontextmanager
async def scene(
    *,
    start_offset: timedelta = timedelta(0),
    say: Callable[[str], None] = lambda _: None,
    small: bool = False,
    **env: str,
) -> AsyncIterator[Scene]:
    """A hub of its own in a fresh folder with the sandbox vendors beside it; everything stops with the block.

    `small` gives the vendors a handful of products each, for tests."""
    saved = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="supplyhub-scene-") as folder:
        clock_file = Path(folder) / "clock"
        clock_file.write_text(str(start_offset.total_seconds()))
        os.environ.update(
            {
                "SUPPLYHUB_DATA_DIR": str(Path(folder) / "data"),
                "SUPPLYHUB_CLOCK_FILE": str(clock_file),
                "SUPPLYHUB_PORT": env.pop("SUPPLYHUB_PORT", "0"),
                **env,
            }
        )
        reset_settings()
        vendors = _start_vendors(small)
        try:
            told = await asyncio.to_thread(_told, vendors)
            say("sandbox vendors are up")
            os.environ["SUPPLYHUB_EGRESS_ALLOW"] = ",".join(told["allow"])
            reset_settings()
            with up.running(say=say) as hub:  # blocks this loop while it starts; its children need this thread
                db.connect(hub.urls.database, settings())
                async with db.uow() as tx:
                    staff_key = await keys.create_key(tx, "staff", None, "demo")
                stage = Scene(
                    hub=hub,
                    staff=Role(hub.base_url, staff_key),
                    vendors={each["key"]: SandboxVendor(**each) for each in told["vendors"]},
                    control=httpx.AsyncClient(base_url=told["control"], timeout=30, trust_env=False),
                    clock_file=clock_file,
                )
                try:
                    yield stage
                finally:
                    for role in (stage.staff, *stage.roles):
                        await role.http.aclose()
                    await stage.control.aclose()
                    await db.disconnect()
        finally:
            vendors.terminate()
            vendors.wait(10)
            assert vendors.stdout is not None
            vendors.stdout.close()
            os.environ.clear()
            os.environ.update(saved)
            reset_settings()


def _start_vendors(small: bool) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "hub.app.demo.vendors", *(["--small"] if small else [])],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


def _told(vendors: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert vendors.stdout is not None
    line = vendors.stdout.readline()
    if not line:
        raise Misconfigured("the sandbox vendors did not start; their log is above")
    told: dict[str, Any] = json.loads(line)
    return told
