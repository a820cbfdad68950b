"""The SFTP mailbox: one SSH connection, made when first needed. It trusts the one host key whose fingerprint is in the
settings and nothing of the machine that it runs on: no known_hosts, no ssh config, no agent, no keys in a home
directory, no question asked of a keyboard. The host is resolved once, by the egress guard's rules, and connected to by
address. How to use it is told in connectors.mailbox."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncssh
from asyncssh import sftp as protocol
from pydantic import SecretStr

from connectors.mailbox import MOST_ENTRIES, PIECE, Entry, Mailbox, Wanted, honest, parts_of, temporary, too_large
from hub.kernel.egress import resolve_public
from hub.kernel.errors import Broken, Conflict, HubError, Misconfigured, NotFound, Retry

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}=?")
# A server shows one of its keys, of the first of these kinds that it has; the settings may name that of another.
_KEY_KINDS = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256",
)  # fmt: skip
_GONE = (
    protocol.SFTPConnectionLost, protocol.SFTPNoConnection, asyncssh.ConnectionLost, ConnectionError, EOFError,
    asyncssh.ChannelOpenError,
)  # fmt: skip
_DENIED = (protocol.SFTPPermissionDenied, protocol.SFTPWriteProtect, protocol.SFTPCannotDelete)
_FULL = (protocol.SFTPNoSpaceOnFilesystem, protocol.SFTPQuotaExceeded)
_MISSING = (protocol.SFTPNoSuchFile, protocol.SFTPNoSuchPath)
asyncssh.set_log_level("WARNING")  # every connection would be told otherwise


@dataclass(frozen=True)
class SftpSettings:
    """Where the server is and who we are there."""

    host: str
    port: int
    user: str
    fingerprints: tuple[str, ...]
    root: str
    password: str | None = field(repr=False)
    private_key: str | None = field(repr=False)
    passphrase: str | None = field(repr=False)

    @classmethod
    def of(cls, config: Mapping[str, Any], secrets: Mapping[str, SecretStr]) -> SftpSettings:
        """Out of a connection's settings; raises Misconfigured."""
        said = {name: secrets[name].get_secret_value() or None for name in secrets}
        fingerprints = tuple(part.strip() for part in str(config.get("host_key") or "").split(",") if part.strip())
        if not fingerprints or not all(map(_FINGERPRINT.fullmatch, fingerprints)):
            how = "ssh-keyscan HOST | ssh-keygen -lf - shows it; have the vendor confirm it"
            raise Misconfigured(
                f"host_key must be the fingerprint of the server's key, SHA256:… ({how})", code="bad_config"
            )
        if not config.get("user") or not (said.get("password") or said.get("private_key")):
            raise Misconfigured("SFTP needs a user, and a password or a private key", code="bad_config")
        port = int(config.get("port") or 22)
        if not 0 < port < 65536:
            raise Misconfigured(f"{port} is not a port", code="bad_config")
        return cls(
            host=str(config["host"]).strip(), port=port, user=str(config["user"]),
            fingerprints=tuple(one.rstrip("=") for one in fingerprints), root=str(config.get("root") or "."),
            password=said.get("password"), private_key=said.get("private_key"), passphrase=said.get("passphrase"),
        )  # fmt: skip


class _Client(asyncssh.SSHClient):
    """Believes the host keys of the settings; keeps what the server showed, to tell it."""

    def __init__(self, fingerprints: tuple[str, ...], shown: dict[str, str]) -> None:
        self._fingerprints = fingerprints
        self._shown = shown

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        fingerprint = key.get_fingerprint("sha256")
        self._shown[key.get_algorithm()] = fingerprint
        return fingerprint in self._fingerprints


class SftpMailbox(Mailbox):
    """A folder tree on an SFTP server."""

    def __init__(self, where: SftpSettings, *, timeout_s: float = 20.0) -> None:
        self._where = where
        self._timeout_s = timeout_s
        self._connecting = asyncio.Lock()
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        absolute = where.root.startswith("/")
        parts = "/".join(parts_of(where.root.lstrip("/")))
        self._root = f"/{parts}" if absolute else parts or "."

    def __repr__(self) -> str:
        return f"<mailbox sftp://{self._where.host}:{self._where.port}>"

    async def aclose(self) -> None:
        """Disconnect."""
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.close()
            with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
                async with asyncio.timeout(2):
                    await connection.wait_closed()
            connection.abort()

    def _path(self, parts: tuple[str, ...]) -> str:
        return "/".join((self._root.rstrip("/"), *parts)) or "/"

    # The connection -------------------------------------------------------------------------------------------

    async def _client(self) -> asyncssh.SFTPClient:
        async with self._connecting:
            if self._connection is not None and self._connection.is_closed():
                self._connection = self._sftp = None
            if self._sftp is None:
                with _meaning("connect to", self._where.host):
                    self._connection = await self._connected()
                    async with asyncio.timeout(self._timeout_s):
                        self._sftp = await self._connection.start_sftp_client()
            return self._sftp

    async def _connected(self) -> asyncssh.SSHClientConnection:
        """A connection to one of the host's addresses."""
        shown: dict[str, str] = {}
        failed: Exception | None = None
        for address in (await resolve_public(self._where.host, self._where.port))[:4]:
            seen: dict[str, str] = {}  # fingerprints by the kind of key
            try:
                return await self._known_server(address, seen)
            except asyncssh.HostKeyNotVerifiable:
                shown |= seen
            except (OSError, TimeoutError, asyncssh.ConnectionLost, asyncssh.KeyExchangeFailed) as error:
                failed = error
        if shown:
            keys = ", ".join(f"{fingerprint} ({kind})" for kind, fingerprint in shown.items())
            raise Misconfigured(
                f"{self._where.host} shows the host key {keys}, not the one in host_key", code="host_key_mismatch"
            )
        raise failed or ConnectionRefusedError()

    async def _known_server(self, address: str, shown: dict[str, str]) -> asyncssh.SSHClientConnection:
        """A connection to the server at this address, by whichever of its keys has the fingerprint: it is asked for
        another kind of key until it has no other. Raises HostKeyNotVerifiable when none was the one."""
        refused: asyncssh.HostKeyNotVerifiable | None = None
        broken_off = False
        while kinds := _other_kinds(shown):
            try:
                return await asyncssh.connect(address, self._where.port, options=self._options(kinds, shown))
            except asyncssh.HostKeyNotVerifiable as error:
                refused = error
                if _other_kinds(shown) == kinds:  # a kind that nobody asked for
                    break
            except asyncssh.KeyExchangeFailed:
                if refused is None:
                    raise
                break
            except (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, asyncssh.ConnectionLost):
                if refused is None:
                    raise
                if broken_off:  # so OpenSSH says that it has no other kind; an outage looks alike, but not twice
                    break
                broken_off = True
        raise refused or asyncssh.HostKeyNotVerifiable("no key")

    def _options(self, kinds: list[str], shown: dict[str, str]) -> asyncssh.SSHClientConnectionOptions:
        where = self._where
        return asyncssh.SSHClientConnectionOptions(
            username=where.user,
            password=where.password,
            client_keys=[self._key()] if where.private_key is not None else None,
            client_factory=lambda: _Client(where.fingerprints, shown),
            known_hosts=([], [], []),  # empty, and not the machine's own, which `None` or nothing would mean
            server_host_key_algs=kinds,
            config=None,
            agent_path=None,
            agent_forwarding=False,
            gss_host=None,
            gss_kex=False,
            gss_auth=False,
            host_based_auth=False,
            kbdint_auth=False,
            password_auth=where.password is not None,
            public_key_auth=where.private_key is not None,
            connect_timeout=self._timeout_s,
            login_timeout=self._timeout_s,
            keepalive_interval=15,
            keepalive_count_max=3,
        )

    def _key(self) -> asyncssh.SSHKey:
        try:
            return asyncssh.import_private_key(self._where.private_key or "", self._where.passphrase)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
            raise Misconfigured("the private key cannot be read, or not with this passphrase", code="bad_key") from None

    @contextlib.asynccontextmanager
    async def _asking(self, what: str, parts: tuple[str, ...]) -> AsyncIterator[asyncssh.SFTPClient]:
        """One exchange, in bounded time. A connection that failed is not used again."""
        client = await self._client()
        try:
            with _meaning(what, "/".join(parts) or "the root folder"):
                async with asyncio.timeout(self._timeout_s):
                    yield client
        except Retry as error:
            if error.code != "mailbox_failed":
                await self._drop()
            raise

    async def _drop(self) -> None:
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.abort()

    # What a mailbox does --------------------------------------------------------------------------------------

    async def _entries(self, folder: tuple[str, ...], *, wanted: Wanted) -> list[Entry]:
        found: list[Entry] = []
        type_ = asyncssh.FILEXFER_TYPE_REGULAR if wanted == "files" else asyncssh.FILEXFER_TYPE_DIRECTORY
        async with self._asking("list", folder) as sftp:
            async for one in sftp.scandir(self._path(folder)):
                name = one.filename if isinstance(one.filename, str) else one.filename.decode("utf-8", "replace")
                if name.startswith(".") or not honest(name):
                    continue
                kind = one.attrs.type
                if kind == asyncssh.FILEXFER_TYPE_UNKNOWN:  # a server that does not say in its lists
                    kind = (await sftp.lstat(self._path((*folder, name)))).type
                if kind == type_:
                    found.append(_entry(name, one.attrs))
                if len(found) > MOST_ENTRIES:
                    raise Broken(f"the folder holds more than {MOST_ENTRIES} files", code="too_many_files")
        return found

    async def _stat(self, path: tuple[str, ...]) -> Entry | None:
        try:
            async with self._asking("look at", path) as sftp:
                seen = await sftp.lstat(self._path(path))
        except NotFound:
            return None
        return _entry(path[-1], seen) if seen.type == asyncssh.FILEXFER_TYPE_REGULAR else None

    async def _chunks(self, path: tuple[str, ...], limit: int) -> AsyncGenerator[bytes, None]:
        async with self._asking("open", path) as sftp:
            seen = await sftp.lstat(self._path(path))
            if seen.type not in (asyncssh.FILEXFER_TYPE_REGULAR, asyncssh.FILEXFER_TYPE_UNKNOWN):
                raise Misconfigured(f"{'/'.join(path)} is not a regular file", code="bad_mailbox_path")
            if (seen.size or 0) > limit:
                raise too_large(limit)
            file = await sftp.open(self._path(path), "rb")
        done = 0
        try:
            while True:
                async with self._asking("read", path):
                    piece = await file.read(PIECE, done)
                if not piece:
                    break
                done += len(piece)
                if done > limit:
                    raise too_large(limit)
                yield piece if isinstance(piece, bytes) else piece.encode()
        finally:
            with contextlib.suppress(asyncssh.Error, OSError, ValueError):
                await file.close()
        if done < (seen.size or 0):
            raise Retry(f"{'/'.join(path)} broke off after {done} of {seen.size} bytes", code="cut_answer", after=1.0)

    async def _write(self, path: tuple[str, ...], data: bytes, replace: bool) -> None:
        if not replace and await self._patiently(lambda: self._stat(path)) is not None:
            raise Conflict(f"{'/'.join(path)} is there already", code="file_exists")

        async def put() -> tuple[str, ...]:
            hidden = (*path[:-1], temporary(path[-1]))
            await self._put(hidden, data)
            return hidden

        hidden = await self._patiently(put)  # until here nobody saw anything
        async with self._asking("write", path) as sftp:
            try:
                if replace:
                    try:
                        await sftp.posix_rename(self._path(hidden), self._path(path))
                    except protocol.SFTPOpUnsupported:  # then there is a moment without the file, never one with half
                        with contextlib.suppress(*_MISSING):
                            await sftp.remove(self._path(path))
                        await sftp.rename(self._path(hidden), self._path(path))
                else:
                    await sftp.rename(self._path(hidden), self._path(path))
            except asyncssh.SFTPError:
                with contextlib.suppress(asyncssh.SFTPError):
                    await sftp.remove(self._path(hidden))
                raise

    async def _create(self, path: tuple[str, ...], data: bytes) -> bool:
        if await self._patiently(lambda: self._stat(path)) is not None:
            return False
        try:
            await self._put(path, data)
        except HubError:  # version 3 of the protocol has no word for "exists": look before anything is made of it
            if await self._patiently(lambda: self._stat(path)) is None:
                raise
            return False
        return True

    async def _put(self, path: tuple[str, ...], data: bytes) -> None:
        """Make a file that must not be there."""
        for last in (False, True):
            try:
                async with self._asking("write", path) as sftp, sftp.open(self._path(path), "xb") as file:
                    for start in range(0, len(data), PIECE):
                        await file.write(data[start : start + PIECE])
                return
            except NotFound:
                if last:
                    raise
                await self._make_folder(path[:-1])

    async def _make_folder(self, folder: tuple[str, ...]) -> None:
        async with self._asking("make the folder", folder) as sftp:
            await sftp.makedirs(self._path(folder), exist_ok=True)

    async def _move(self, source: tuple[str, ...], target: tuple[str, ...]) -> None:
        if await self._patiently(lambda: self._stat(source)) is None:
            raise NotFound(f"there is no {'/'.join(source)}", code="no_file")
        if await self._stat(target) is not None:
            raise Conflict(f"{'/'.join(target)} is there already", code="file_exists")
        for last in (False, True):
            try:
                async with self._asking("move", source) as sftp:
                    await sftp.rename(self._path(source), self._path(target))
                return
            except NotFound:  # the file, or the target's folder
                if last or await self._stat(source) is None:
                    raise
                await self._make_folder(target[:-1])

    async def _delete(self, path: tuple[str, ...]) -> None:
        async def gone() -> None:
            with contextlib.suppress(NotFound):
                async with self._asking("delete", path) as sftp:
                    await sftp.remove(self._path(path))

        await self._patiently(gone)


def _entry(name: str, seen: asyncssh.SFTPAttrs) -> Entry:
    return Entry(name, seen.size or 0, datetime.fromtimestamp(seen.mtime or 0, UTC))


def _other_kinds(shown: Mapping[str, str]) -> list[str]:
    """The kinds of host key that the server has not shown yet; both kinds of RSA signature are of one key."""
    return [kind for kind in _KEY_KINDS if ("ssh-rsa" if kind.startswith("rsa-") else kind) not in shown]


@contextlib.contextmanager
def _meaning(what: str, where: str) -> Iterator[None]:
    """Whatever asyncssh raises, as what the caller does with it. Causes are cut off: they may hold settings."""
    try:
        yield
    except HubError:
        raise
    except _MISSING:
        raise NotFound(f"there is no {where} on the SFTP server", code="no_file") from None
    except asyncssh.SFTPFileAlreadyExists:
        raise Conflict(f"{where} is there already", code="file_exists") from None
    except _DENIED:
        raise Misconfigured(f"the SFTP server does not let the hub {what} {where}", code="mailbox_denied") from None
    except _FULL:
        raise Misconfigured("the SFTP server's disk or quota is full", code="mailbox_full") from None
    except asyncssh.PermissionDenied:
        raise Misconfigured("the SFTP server refuses the user or its credentials", code="vendor_denied") from None
    except asyncssh.KeyExchangeFailed as error:
        detail = f"no way of encryption in common with {where}: {error.reason}"
        raise Misconfigured(detail, code="no_algorithm") from None
    except (TimeoutError, asyncssh.TimeoutError):
        raise Retry(f"the SFTP server does not answer ({what} {where})", code="vendor_timeout", after=2.0) from None
    except _GONE as error:
        raise _unreached(f"the SFTP server broke off: {type(error).__name__}") from None
    except asyncssh.SFTPFailure as error:
        detail = f"the SFTP server could not {what} {where}: {error.reason}"
        raise Retry(detail, code="mailbox_failed", after=30.0) from None
    except asyncssh.SFTPError as error:
        raise Broken(f"{what} {where}: the SFTP server answered {error.reason}", code="sftp_error") from None
    except asyncssh.DisconnectError as error:
        raise _unreached(f"the SFTP server disconnected: {error.reason}") from None
    except OSError as error:
        raise _unreached(f"the SFTP server cannot be reached: {type(error).__name__}") from None


def _unreached(detail: str) -> Retry:
    return Retry(detail, code="vendor_unreachable", after=2.0)
