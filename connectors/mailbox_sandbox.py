"""A stand-in for a partner's SFTP server: asyncssh on loopback over a temporary directory, with faults. For tests and
the sandboxes of connectors that speak in files; the hub itself never imports it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh
from aiohttp import web

from connectors.sandbox_kit import Faults, Sandbox, Seen

USER, PASSWORD = "supplyhub", "sftp-sandbox-password-7"


class SftpSandbox(Sandbox):
    """An SFTP server whose files lie in `root` (a temporary directory unless given). Of the usual faults it plays
    `deny`, `unavailable` (so many connections are dropped before they are made), `hang`, `garbage` and `truncate` (so
    many files are a web page, or break off in the middle), and `lose_answer` (a file is put into its place and the
    connection dropped before the answer). Its own: `cut_after` drops the connection once, after so many bytes were
    read; `posix` False knows no replacing rename; `refusing` may raise an SFTPError."""

    def __init__(self, faults: Faults | None = None, *, root: Path | None = None) -> None:
        super().__init__(faults)
        self.root = root or Path(tempfile.mkdtemp(prefix="sftp-sandbox-"))
        self._own = root is None
        self.keys = [asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ecdsa-sha2-nistp256")]
        self.authorized: str | None = None  # a client's public key in OpenSSH form
        self.cut_after: int | None = None
        self.posix = True
        self.refusing: Callable[[bytes], None] | None = None  # asked before a file is removed or renamed
        self.connections = 0
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._live: set[asyncssh.SSHServerConnection] = set()

    def routes(self, app: web.Application) -> None:
        """None: this server speaks no HTTP."""

    async def start(self, port: int = 0) -> str:
        """Listen on 127.0.0.1; returns and keeps `base_url`."""
        self._acceptor = await asyncssh.listen(
            "127.0.0.1", port, server_factory=lambda: _Door(self), server_host_keys=self.keys,
            sftp_factory=lambda channel: _Files(channel, self), login_timeout=10, config=None,
        )  # fmt: skip
        self.base_url = f"sftp://127.0.0.1:{self._acceptor.get_port()}"
        return self.base_url

    async def stop(self) -> None:
        """Close the server and remove what it kept."""
        if self._acceptor is not None:
            self._acceptor.close()
            for connection in list(self._live):
                connection.abort()
            await self._acceptor.wait_closed()
            self._acceptor = None
        if self._own:
            shutil.rmtree(self.root, ignore_errors=True)

    @property
    def fingerprint(self) -> str:
        return self.keys[0].get_fingerprint("sha256")

    def settings(self) -> tuple[dict[str, object], dict[str, str]]:
        """Settings and secrets of a mailbox on this server."""
        host, _, port = self.host_port.partition(":")
        config: dict[str, object] = {"host": host, "port": int(port), "user": USER, "host_key": self.fingerprint}
        return config, {"password": PASSWORD}

    def drop_everybody(self) -> None:
        """Break every open connection off."""
        for connection in list(self._live):
            connection.abort()

    def put(self, path: str, data: bytes, *, modified: float | None = None) -> Path:
        """Leave a file in the mailbox, as the partner does; `modified` is in seconds since 1970."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        if modified is not None:
            os.utime(file, (modified, modified))
        return file

    def acts(self, path: str) -> bool:
        """Whether a file put at `path` makes the partner do something."""
        return True

    def received(self, path: str) -> None:
        """What the partner does with a file that was put at `path`."""

    def note(self, method: str, path: str, status: int = 200, *, acted: bool = False) -> None:
        """Keep what was asked of the server, as HTTP sandboxes do."""
        self.seen.append(Seen(time.monotonic(), method, path, status, acted))


class _Door(asyncssh.SSHServer):
    """Who may come in."""

    def __init__(self, sandbox: SftpSandbox) -> None:
        self._sandbox = sandbox
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._sandbox.connections += 1
        self._sandbox._live.add(conn)
        faults = self._sandbox.faults
        if faults.unavailable > 0:
            faults.unavailable -= 1
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._sandbox._live.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return self._sandbox.authorized is None

    def validate_password(self, username: str, password: str) -> bool:
        good = not self._sandbox.faults.deny and (username, password) == (USER, PASSWORD)
        self._sandbox.note("LOGIN", username, 200 if good else 401)
        return good

    def public_key_auth_supported(self) -> bool:
        return self._sandbox.authorized is not None

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        known = self._sandbox.authorized
        return known is not None and key == asyncssh.import_public_key(known) and not self._sandbox.faults.deny

    def kbdint_auth_supported(self) -> bool:
        return False


class _Files(asyncssh.SFTPServer):
    """The files, with the faults."""

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], sandbox: SftpSandbox) -> None:
        super().__init__(channel, chroot=os.fsencode(sandbox.root))
        self._sandbox = sandbox
        self._given = 0
        self._played: dict[int, bytes] = {}

    def _abort(self) -> None:
        self.connection.abort()

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        file = super().open(path, pflags, attrs)
        faults = self._sandbox.faults
        if pflags & 0x1 and not pflags & 0x2:
            self._sandbox.note("READ", os.fsdecode(path))
            size = os.fstat(file.fileno()).st_size  # type: ignore[attr-defined]
            if faults.garbage > 0:
                faults.garbage -= 1
                self._played[id(file)] = b"<!DOCTYPE html><html><body>Maintenance</body></html>".ljust(size)
            elif faults.truncate > 0:
                faults.truncate -= 1
                whole = os.pread(file.fileno(), size, 0)  # type: ignore[attr-defined]
                self._played[id(file)] = whole[: size // 2].ljust(size)
        return file

    def read(self, file_obj: object, offset: int, size: int) -> bytes:
        played = self._played.get(id(file_obj))
        if played is not None:
            return played[offset : offset + size]
        cut = self._sandbox.cut_after
        if cut is not None and self._given + size > cut:
            self._sandbox.cut_after = None
            self._abort()
        piece: bytes = super().read(file_obj, offset, size)  # type: ignore[assignment]
        self._given += len(piece)
        return piece

    def remove(self, path: bytes) -> None:
        if self._sandbox.refusing is not None:
            self._sandbox.refusing(path)
        super().remove(path)

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        super().rename(oldpath, newpath)
        self._renamed(newpath)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        if not self._sandbox.posix:
            raise asyncssh.SFTPOpUnsupported("not supported")
        super().posix_rename(oldpath, newpath)
        self._renamed(newpath)

    def _renamed(self, path: bytes) -> None:
        """A file is in its place: the partner may act on it."""
        name = "/" + os.path.normpath(os.fsdecode(path)).lstrip("/")
        acts = self._sandbox.acts(name)
        self._sandbox.note("RENAME", name, acted=acts)
        if acts:
            self._sandbox.received(name)
            if self._sandbox.faults.lose_answer > 0:
                self._sandbox.faults.lose_answer -= 1
                self._abort()
