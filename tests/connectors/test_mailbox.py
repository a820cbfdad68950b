"""A mailbox is the same whether it is a directory or an SFTP server: whole files or none, nothing outside it, one host
key, and errors that say what to do."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import logging
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from pydantic import SecretStr

from connectors.kit_stage import reachable
from connectors.mailbox import DirectoryMailbox, Mailbox, open_mailbox, parts_of
from connectors.mailbox_sandbox import PASSWORD, SftpSandbox
from connectors.tables import Limits
from hub.kernel.errors import Broken, Conflict, HubError, Misconfigured, NotFound, Retry
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


# SFTP ---------------------------------------------------------------------------------------------------------


async def test_another_host_key_is_refused_and_named() -> None:
    async with serving() as server:
        async with opened(server, host_key="SHA256:" + "A" * 43) as box:
            with pytest.raises(Misconfigured, match=re.escape(server.fingerprint)) as caught:
                await box.files(".")
        assert caught.value.code == "host_key_mismatch"
        assert not server.seen  # nothing was sent to it, no password above all


async def test_the_fingerprint_may_be_of_any_of_the_servers_keys() -> None:
    async with serving() as server:
        second = server.keys[1].get_fingerprint("sha256")
        async with opened(server, host_key=f"SHA256:{'A' * 43}, {second}=") as box:
            assert await box.files(".") == []


@pytest.mark.parametrize(
    ("breaks", "wanted"), [((1,), None), ((1, 2), "host_key_mismatch"), ((0,), "vendor_unreachable")]
)
async def test_a_server_that_breaks_off_instead_of_showing_another_key_is_asked_once_more(
    monkeypatch: pytest.MonkeyPatch, breaks: tuple[int, ...], wanted: str | None
) -> None:
    """OpenSSH resets the connection when it has no key of the kinds asked for, which an outage does as well."""
    monkeypatch.setattr("connectors.mailbox.ATTEMPTS", 1)
    real, calls = asyncssh.connect, 0

    async def connect(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls - 1 in breaks:
            raise ConnectionResetError
        return await real(*arguments, **named)

    async with serving() as server:
        server_keys = [key.get_fingerprint("sha256") for key in server.keys]
        monkeypatch.setattr(asyncssh, "connect", connect)
        async with opened(server, host_key=server_keys[1]) as box:
            if wanted is None:
                assert await box.files(".") == []
                return
            with pytest.raises(HubError) as caught:
                await box.files(".")
        assert caught.value.code == wanted and calls == len(breaks) + (wanted == "host_key_mismatch")


async def test_a_server_without_a_kind_of_key_in_between_is_known_by_the_next() -> None:
    sandbox = SftpSandbox()
    sandbox.keys[1] = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    async with serving(sandbox) as server, opened(server, host_key=server.keys[1].get_fingerprint("sha256")) as box:
        assert await box.files(".") == []


async def test_the_machines_own_known_hosts_keys_and_config_count_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    async with serving() as server:
        port = server.host_port.partition(":")[2]
        public = server.keys[0].export_public_key().decode()
        (ssh / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}")
        (ssh / "config").write_text("Host *\n  User somebody\n  StrictHostKeyChecking no\n")
        asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(ssh / "id_ed25519"))
        async with opened(server, host_key="SHA256:" + "A" * 43) as box:
            with pytest.raises(Misconfigured):
                await box.files(".")
        async with opened(server, password="wrong-password") as box:
            with pytest.raises(Misconfigured, match="credentials"):
                await box.files(".")
        assert [seen.status for seen in server.seen] == [401]  # once: repeating it would lock the account


async def test_a_private_key_lets_in_and_a_wrong_one_does_not() -> None:
    key, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    async with serving() as server:
        server.authorized = key.export_public_key().decode()
        config, _ = server.settings()

        def with_key(text: str, passphrase: str = "") -> Mailbox:
            return open_mailbox(config, {"private_key": SecretStr(text), "passphrase": SecretStr(passphrase)})

        async with with_key(key.export_private_key().decode()) as box:
            assert await box.files(".") == []
        sealed = key.export_private_key("pkcs8-pem", passphrase="open sesame").decode()
        async with with_key(sealed, "open sesame") as box:
            assert await box.files(".") == []
        for wrong in (other.export_private_key().decode(), sealed, "no key"):
            async with with_key(wrong) as box:
                with pytest.raises(Misconfigured):
                    await box.files(".")


async def test_a_private_address_is_refused_unless_it_is_allowed() -> None:
    server = SftpSandbox()
    await server.start()
    try:
        for host in ("127.0.0.1", "localhost", "169.254.169.254"):
            async with opened(server, host=host) as box:
                with pytest.raises(Misconfigured, match="public"):
                    await box.files(".")
        assert server.connections == 0
    finally:
        await server.stop()


async def test_a_short_outage_is_ridden_out_and_a_long_one_is_retry() -> None:
    async with serving() as server:
        server.put("in/a.edi", b"a")
        server.faults.unavailable = 1
        async with opened(server) as box:
            assert len(await box.files("in")) == 1
        server.faults.unavailable = 50
        async with opened(server) as box:
            with pytest.raises(Retry):
                await box.files("in")
    async with opened(server) as box:
        with pytest.raises(HubError):
            await box.files("in")


async def test_a_read_that_is_cut_off_in_the_middle_is_made_again() -> None:
    body = os.urandom(3_000_000)
    async with serving() as server:
        server.put("in/a.edi", body)
        async with opened(server) as box:
            server.cut_after = 1_000_000
            assert await read(box, "in/a.edi") == body
        assert server.connections == 2


async def test_a_connection_lost_while_idle_is_made_anew() -> None:
    async with serving() as server:
        async with opened(server) as box:
            assert await box.files(".") == []
            server.drop_everybody()
            await asyncio.sleep(0)
            await box.write("out/a.edi", b"a")
        assert (server.root / "out/a.edi").read_bytes() == b"a"


async def test_a_write_whose_answer_is_lost_is_unknown_and_there() -> None:
    async with serving() as server:
        server.faults.lose_answer = 1
        async with opened(server) as box:
            with pytest.raises(Retry):
                await box.write("out/a.edi", b"whole")
            assert await box.read_bytes("out/a.edi") == b"whole"


async def test_a_server_that_never_answers_costs_its_time_and_no_more() -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sandbox = SftpSandbox()
    sandbox.base_url = f"sftp://127.0.0.1:{port}"
    try:
        with reachable(sandbox):
            async with opened(sandbox, timeout_s=0.2) as box:
                with pytest.raises(Retry):
                    await box.files(".")
    finally:
        for writer in accepted:
            writer.close()
        server.close()
        await sandbox.stop()


async def test_rights_that_are_missing_are_for_a_person() -> None:
    async with serving() as server:
        server.put("in/a.edi", b"a")

        def denied(path: bytes) -> None:
            raise asyncssh.SFTPPermissionDenied("no")

        server.refusing = denied
        async with opened(server) as box:
            with pytest.raises(Misconfigured, match="does not let the hub"):
                await box.delete("in/a.edi")


async def test_no_secret_shows(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    shown: list[str] = []
    try:
        async with serving() as server:
            for faults in ({"deny": True}, {"deny": False}, {"unavailable": 9}):
                for name, value in faults.items():
                    setattr(server.faults, name, value)
                async with opened(server) as box:
                    shown += [repr(box), repr(box.__dict__)]
                    try:
                        await box.files(".")
                    except HubError as error:
                        shown += [repr(error), repr(error.__cause__), repr(error.__context__)]
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    assert not any(PASSWORD in text for text in [*shown, stream.getvalue(), caplog.text])
