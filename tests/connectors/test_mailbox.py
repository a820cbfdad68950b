"""A mailbox is the same whether it is a directory or an SFTP server: whole files or none, nothing outside it, one host
key, and errors that say what to do."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from connectors.kit_stage import reachable
from connectors.mailbox import DirectoryMailbox, Mailbox, open_mailbox, parts_of
from connectors.mailbox_sandbox import PASSWORD, SftpSandbox
from connectors.tables import Limits
from hub.kernel.errors import Broken, Conflict, HubError, Misconfigured, NotFound
from hub.kernel.settings import settings


@dataclass
class Stage:
    """A mailbox and the folder that it shows."""

    box: Mailbox
    root: Path


@contextlib.contextmanager
def feeds() -> Iterator[tuple[str, Path]]:
    """A directory below the hub's feeds directory, by name and by path."""
    name = f"mail-{uuid.uuid4().hex}"
    root = settings().data_dir / "feeds" / name
    root.mkdir(parents=True)
    try:
        yield name, root
    finally:
        shutil.rmtree(root)


@contextlib.asynccontextmanager
async def serving(sandbox: SftpSandbox | None = None) -> AsyncIterator[SftpSandbox]:
    server = sandbox or SftpSandbox()
    await server.start()
    try:
        with reachable(server):
            yield server
    finally:
        await server.stop()


def opened(server: SftpSandbox, *, password: str = PASSWORD, timeout_s: float = 5.0, **other: Any) -> Mailbox:
    config, _ = server.settings()
    return open_mailbox({**config, **other}, {"password": SecretStr(password)}, timeout_s=timeout_s)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.mailbox.jitter", lambda *_: 0.0)


@pytest.fixture(params=["directory", "sftp", "sftp below a root", "sftp without posix-rename"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    if request.param == "directory":
        with feeds() as (name, root):
            async with open_mailbox({"directory": name}, {}) as box:
                yield Stage(box, root)
        return
    async with serving() as server:
        server.posix = "without" not in request.param
        below = {"root": "/deep/inside"} if "root" in request.param else {}
        root = server.root / "deep" / "inside" if below else server.root
        root.mkdir(parents=True, exist_ok=True)
        async with opened(server, **below) as box:
            yield Stage(box, root)


async def read(box: Mailbox, path: str, limits: Limits | None = None) -> bytes:
    with await box.read(path, limits or Limits()) as spooled:
        spooled.file.seek(0)
        return spooled.file.read()


# What it does -------------------------------------------------------------------------------------------------


async def test_files_are_listed_oldest_first_with_size_and_time(stage: Stage) -> None:
    inbox = stage.root / "in"
    (inbox / "folder").mkdir(parents=True)
    for name, at in (("b.edi", 1_700_000_000), ("a.edi", 1_700_000_000), ("c.edi", 1_600_000_000), (".hidden", 1)):
        (inbox / name).write_bytes(name.encode())
        os.utime(inbox / name, (at, at))
    (inbox / "link.edi").symlink_to("/etc/passwd")
    found = await stage.box.files("in")
    assert [entry.name for entry in found] == ["c.edi", "a.edi", "b.edi"]
    assert found[0].size == 5 and found[0].modified == datetime.fromtimestamp(1_600_000_000, UTC)
    assert await stage.box.folders("in") == ["folder"] and await stage.box.folders("nowhere") == []
    assert await stage.box.stat("in/a.edi") == found[1]
    assert await stage.box.stat("in/folder") is None and await stage.box.stat("in/none.edi") is None
    with pytest.raises(NotFound):
        await stage.box.files("nowhere")


async def test_a_file_is_written_whole_or_not_at_all(stage: Stage) -> None:
    body = os.urandom(700_000)
    await stage.box.write("out/new/order.edi", body)
    assert (stage.root / "out/new/order.edi").read_bytes() == body
    await stage.box.write("out/new/order.edi", b"second")
    assert await stage.box.read_bytes("out/new/order.edi") == b"second"
    with pytest.raises(Conflict):
        await stage.box.write("out/new/order.edi", b"third", replace=False)
    assert [path.name for path in (stage.root / "out/new").iterdir()] == ["order.edi"]  # no temporary file is left


async def test_exactly_one_of_many_makes_a_file(stage: Stage) -> None:
    assert await stage.box.create("numbers/7", b"mine")
    assert not await stage.box.create("numbers/7", b"yours")
    made = await asyncio.gather(*(stage.box.create("numbers/8", str(n).encode()) for n in range(8)))
    assert sum(made) == 1
    assert (stage.root / "numbers/7").read_bytes() == b"mine"


async def test_a_move_makes_folders_and_replaces_nothing(stage: Stage) -> None:
    (stage.root / "in").mkdir()
    (stage.root / "in/a.edi").write_bytes(b"a")
    await stage.box.move("in/a.edi", "done/2026-11-25/a.edi")
    assert (stage.root / "done/2026-11-25/a.edi").read_bytes() == b"a"
    with pytest.raises(NotFound):
        await stage.box.move("in/a.edi", "done/b.edi")
    (stage.root / "in/a.edi").write_bytes(b"other")
    with pytest.raises(Conflict):
        await stage.box.move("in/a.edi", "done/2026-11-25/a.edi")
    assert (stage.root / "in/a.edi").exists()
    await stage.box.delete("in/a.edi")
    await stage.box.delete("in/a.edi")
    await stage.box.delete("nowhere/a.edi")
    assert not (stage.root / "in/a.edi").exists()


async def test_a_big_file_is_landed_on_disk_and_unpacked(stage: Stage) -> None:
    body = b"0123456789abcdef" * 200_000
    (stage.root / "big.edi").write_bytes(body)
    (stage.root / "big.edi.gz").write_bytes(gzip.compress(body))
    assert await read(stage.box, "big.edi") == body
    assert await read(stage.box, "big.edi.gz") == body


async def test_a_huge_file_is_refused_before_it_is_read(stage: Stage) -> None:
    (stage.root / "huge.edi").write_bytes(b"x" * 100_000)
    (stage.root / "empty.edi").write_bytes(b"")
    with pytest.raises(Broken, match="larger than 50000"):
        await stage.box.read("huge.edi", Limits(total_bytes=50_000))
    with pytest.raises(Broken, match="larger than 10"):
        await stage.box.read_bytes("huge.edi", 10)
    with pytest.raises(Broken, match="empty"):
        await stage.box.read("empty.edi")
    with pytest.raises(NotFound):
        await stage.box.read("none.edi")


# What it refuses ----------------------------------------------------------------------------------------------

OUTSIDE = [
    "../secret", "in/../../secret", "/etc/passwd", "in/\x00", "in/a\nb", "..", "a\\b", "in/" + "x" * 300, "é" * 200,
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE)
async def test_no_path_leads_outside(stage: Stage, path: str) -> None:
    for act in (
        stage.box.files, stage.box.folders, stage.box.stat, stage.box.read, stage.box.read_bytes, stage.box.delete,
        stage.box.create, lambda p: stage.box.write(p, b"x"), lambda p: stage.box.move(p, "b"),
        lambda p: stage.box.move("b", p),
    ):  # fmt: skip
        with pytest.raises(Misconfigured):
            await act(path)  # type: ignore[operator]


async def test_a_link_is_no_file(stage: Stage) -> None:
    (stage.root / "real").mkdir()
    (stage.root / "passwd").symlink_to("/etc/passwd")
    assert await stage.box.stat("passwd") is None
    with pytest.raises(Misconfigured):
        await stage.box.read("passwd")
    with pytest.raises(HubError):
        await stage.box.move("passwd", "taken")
    assert (stage.root / "passwd").is_symlink()


async def test_links_in_a_directory_lead_nowhere() -> None:
    with feeds() as (name, root):
        outside = root.parent / f"outside-{name}"
        outside.mkdir()
        try:
            (outside / "a.edi").write_bytes(b"secret")
            (root / "in").symlink_to(outside)
            async with open_mailbox({"directory": name}, {}) as box:
                for act in (box.files("in"), box.read("in/a.edi"), box.write("in/b.edi", b"x"), box.create("in/c")):
                    with pytest.raises(Misconfigured):
                        await act
                with pytest.raises(Misconfigured):
                    await box.move("in/a.edi", "a.edi")
            assert [path.name for path in outside.iterdir()] == ["a.edi"]
            (root.parent / f"linked-{name}").symlink_to(outside)
            with pytest.raises(Misconfigured):
                await open_mailbox({"directory": f"linked-{name}"}, {}).files(".")
        finally:
            shutil.rmtree(outside)
            (root.parent / f"linked-{name}").unlink(missing_ok=True)


@pytest.mark.parametrize("directory", ["../feeds", "/etc", "a/../../b", "no-such-directory"])
async def test_a_directory_lies_below_the_feeds_directory(directory: str) -> None:
    (settings().data_dir / "feeds").mkdir(exist_ok=True)
    with pytest.raises(Misconfigured):
        await open_mailbox({"directory": directory}, {}).files(".")


async def test_a_device_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    box = DirectoryMailbox(tmp_path.parent, tmp_path.name)
    assert await box.files(".") == []
    with pytest.raises(Misconfigured):
        await box.read("pipe")


BAD_SETTINGS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {}),
    ({"directory": "a", "host": "sftp.example.com"}, {}),
    ({"host": "sftp.example.com", "user": "u"}, {"password": "p"}),
    ({"host": "sftp.example.com", "user": "u", "host_key": "MD5:aa:bb"}, {"password": "p"}),
    ({"host": "sftp.example.com", "user": "u", "host_key": "SHA256:" + "A" * 43}, {}),
    ({"host": "sftp.example.com", "host_key": "SHA256:" + "A" * 43}, {"password": "p"}),
    ({"host": "sftp.example.com", "user": "u", "host_key": "SHA256:" + "A" * 43, "port": 99999}, {"password": "p"}),
    (
        {"host": "sftp.example.com", "user": "u", "host_key": "SHA256:" + "A" * 43, "root": "/a/../../b"},
        {"password": "p"},
    ),
]


@pytest.mark.parametrize(("config", "secrets"), BAD_SETTINGS)
def test_settings_that_name_no_mailbox_are_refused(config: dict[str, Any], secrets: dict[str, str]) -> None:
    with pytest.raises(Misconfigured):
        open_mailbox(config, {name: SecretStr(value) for name, value in secrets.items()})


def test_parts_of_a_path() -> None:
    assert (
        parts_of("a/./b//c") == ("a", "b", "c") and parts_of(".") == () and parts_of("商品/价格.edi")[1] == "价格.edi"
    )
