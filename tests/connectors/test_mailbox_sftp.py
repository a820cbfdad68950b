"""An SFTP mailbox: one host key, no way round the egress guard, no secret shown, and a cut at any time is known for
what it is."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from pydantic import SecretStr

from connectors.kit_stage import reachable
from connectors.mailbox import Mailbox, open_mailbox
from connectors.mailbox_sandbox import PASSWORD, SftpSandbox
from hub.kernel.errors import HubError, Misconfigured, Retry
from tests.connectors.test_mailbox import opened, read, serving


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.mailbox.jitter", lambda *_: 0.0)


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
