"""A folder tree in which two partners leave each other files: a directory below the hub's feeds directory, or an SFTP
server. One small interface over both, for connectors whose protocol is files.

    async with open_mailbox(self.config, self.secrets) as box:
        for entry in await box.files("inbox"):                       # Entry(name, size, modified), oldest first
            with await box.read(f"inbox/{entry.name}", limits) as spooled:    # landed on disk, gzip unpacked
                ...                                                 # spooled.file, spooled.size, spooled.digest
            await box.move(f"inbox/{entry.name}", f"done/{entry.name}")
        await box.write("outbox/order.edi", body)                   # under a temporary name, then renamed

Paths are relative, with `/` between their parts, on every mailbox; `..`, absolute paths and links are refused. Errors
say what to do: NotFound (no such file or folder), Conflict (the target exists), Misconfigured (credentials, rights, a
host key that is not the one in the settings, an address that the egress guard refuses), Retry (not reached, cut off,
too slow; after a write or a move: look whether it happened), Broken (larger than allowed, outside the protocol).

A connector takes these settings (copy what applies into its manifest's `config`):

    directory: {title: "Directory below the hub's feeds directory, instead of host"}
    host: {title: SFTP server}
    port: {title: SFTP port, type: integer, default: 22}
    user: {title: SFTP user}
    host_key: {title: "Fingerprint of the SFTP server's host key, SHA256:..."}
    root: {title: Folder on the SFTP server below which everything lies, default: "."}
    password: {title: SFTP password, secret: true}
    private_key: {title: "SFTP private key (OpenSSH or PEM), instead of a password", secret: true}
    passphrase: {title: Passphrase of the private key, secret: true}
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets as randoms
import stat as modes
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TypeVar

from pydantic import SecretStr

from connectors.guards import jitter
from connectors.tables import DEFAULT, Limits, Spooled, land
from hub.kernel.errors import Broken, Conflict, Malformed, Misconfigured, NotFound, Retry, TooLarge
from hub.kernel.settings import settings

T = TypeVar("T")
Wanted = Literal["files", "folders"]
PIECE = 256 * 1024
MOST_ENTRIES = 100_000  # of one folder
ATTEMPTS = 3  # of what only reads


class Entry(NamedTuple):
    """A file in a folder. `modified` is the mailbox's own clock; 1970 when it does not say."""

    name: str
    size: int
    modified: datetime


class Mailbox(ABC):
    """What every mailbox can do. Use it with `async with`; it connects when first needed."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @abstractmethod
    async def aclose(self) -> None:
        """Disconnect. The mailbox may be used again afterwards."""

    async def files(self, folder: str) -> list[Entry]:
        """The regular files in `folder`, oldest first (then by name). Hidden files, links, folders and names that no
        honest file has are left out. Raises NotFound when there is no such folder."""
        found = await self._patiently(lambda: self._entries(parts_of(folder), wanted="files"))
        return sorted(found, key=lambda entry: (entry.modified, entry.name))

    async def folders(self, folder: str) -> list[str]:
        """The names of the folders in `folder`, sorted; none when it is not there."""
        try:
            found = await self._patiently(lambda: self._entries(parts_of(folder), wanted="folders"))
        except NotFound:
            return []
        return sorted(entry.name for entry in found)

    async def stat(self, path: str) -> Entry | None:
        """The regular file at `path`, or None when there is none."""
        return await self._patiently(lambda: self._stat(parts_of(path)))

    async def read(self, path: str, limits: Limits = DEFAULT) -> Spooled:
        """The file, landed on disk (small ones in memory) and unpacked if it is gzip; close it after use. A transfer
        that is cut off is made again. Raises Broken for an empty or damaged file and for one beyond
        `limits.total_bytes`, NotFound when there is none."""

        async def once() -> Spooled:
            async with contextlib.aclosing(self._chunks(parts_of(path), limits.total_bytes)) as chunks:
                return await land(chunks, limits)

        try:
            return await self._patiently(once)
        except (Malformed, TooLarge) as error:
            raise Broken(f"{path}: {error.detail}", code=error.code) from None

    async def read_bytes(self, path: str, limit: int = 2**20) -> bytes:
        """The bytes of a small file as they stand. Raises Broken beyond `limit`, NotFound when there is none."""

        async def once() -> bytes:
            async with contextlib.aclosing(self._chunks(parts_of(path), limit)) as chunks:
                return b"".join([chunk async for chunk in chunks])

        try:
            return await self._patiently(once)
        except TooLarge as error:
            raise Broken(f"{path}: {error.detail}", code=error.code) from None

    async def write(self, path: str, data: bytes, *, replace: bool = True) -> None:
        """Write a file so that nobody ever sees half of it: under a hidden temporary name in the same folder, then
        renamed. With `replace` False an existing file is left alone and Conflict raised. Makes missing folders. Raises
        Retry when the outcome is unknown."""
        await self._write(parts_of(path), data, replace)

    async def create(self, path: str, data: bytes = b"") -> bool:
        """Make the file unless it is there already; says whether this call made it. Of any number of callers exactly
        one hears True. Makes missing folders. Raises Retry when the outcome is unknown."""
        return await self._create(parts_of(path), data)

    async def move(self, source: str, target: str) -> None:
        """Rename within the mailbox; makes missing folders. Raises NotFound when there is no such file (somebody else
        moved it), Conflict when the target is there, Retry when the outcome is unknown."""
        await self._move(parts_of(source), parts_of(target))

    async def delete(self, path: str) -> None:
        """Delete the file; one that is gone already is no error."""
        await self._delete(parts_of(path))

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What only reads is tried again when the mailbox was not reached or cut it off."""
        attempt = 1
        while True:
            try:
                return await ask()
            except Retry as error:
                if attempt >= ATTEMPTS:
                    raise
                await asyncio.sleep(jitter(attempt, min(error.after, 1.0)))
                attempt += 1

    @abstractmethod
    async def _entries(self, folder: tuple[str, ...], *, wanted: Wanted) -> list[Entry]: ...
    @abstractmethod
    async def _stat(self, path: tuple[str, ...]) -> Entry | None: ...
    @abstractmethod
    def _chunks(self, path: tuple[str, ...], limit: int) -> AsyncGenerator[bytes, None]: ...
    @abstractmethod
    async def _write(self, path: tuple[str, ...], data: bytes, replace: bool) -> None: ...
    @abstractmethod
    async def _create(self, path: tuple[str, ...], data: bytes) -> bool: ...
    @abstractmethod
    async def _move(self, source: tuple[str, ...], target: tuple[str, ...]) -> None: ...
    @abstractmethod
    async def _delete(self, path: tuple[str, ...]) -> None: ...


def open_mailbox(config: Mapping[str, Any], secrets: Mapping[str, SecretStr], *, timeout_s: float = 20.0) -> Mailbox:
    """The mailbox that a connection's settings name (see above). Makes no call; raises Misconfigured for settings that
    name none, or an SFTP server without a fingerprint or credentials. `timeout_s` bounds each answer of the server."""
    directory, host = config.get("directory"), config.get("host")
    if bool(directory) == bool(host):
        raise Misconfigured("give directory or host, exactly one of them", code="bad_config")
    if directory:
        return DirectoryMailbox(settings().data_dir / "feeds", str(directory))
    from connectors.mailbox_sftp import SftpMailbox, SftpSettings  # asyncssh is loaded for those who need it

    return SftpMailbox(SftpSettings.of(config, secrets), timeout_s=timeout_s)


def parts_of(path: str) -> tuple[str, ...]:
    """The parts of a relative path; raises Misconfigured for anything that could lead elsewhere."""
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    if path.startswith("/") or not all(map(honest, parts)) or len(path) > 1000:
        raise Misconfigured(f"{path[:200]!r} is not a path inside the mailbox", code="bad_mailbox_path")
    return parts


def honest(name: str) -> bool:
    """Whether `name` can be one file's name: no separators, no way up, no control characters."""
    return 0 < len(name.encode("utf-8", "replace")) <= 255 and name not in (".", "..") and not set(name) & _NEVER


_NEVER = frozenset("/\\\x7f") | {chr(n) for n in range(32)}


def temporary(name: str) -> str:
    """A hidden name beside `name` that nobody else uses."""
    return f".{name[:150]}.{randoms.token_hex(6)}.tmp"


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"the file is larger than {limit} bytes", code="file_too_large")


class DirectoryMailbox(Mailbox):
    """A directory below `root`. Each part of a path is opened on its own and never through a link, so that nothing
    outside can be reached, whatever somebody with access to the directory puts there."""

    def __init__(self, root: Path, directory: str) -> None:
        self._root = root
        self._base = parts_of(directory)
        self._name = directory

    def __repr__(self) -> str:
        return f"<mailbox {self._name}>"

    async def aclose(self) -> None:
        """Nothing is kept open."""

    async def _entries(self, folder: tuple[str, ...], *, wanted: Wanted) -> list[Entry]:
        return await self._do(self._list_now, folder, wanted == "files")

    async def _stat(self, path: tuple[str, ...]) -> Entry | None:
        return await self._do(self._stat_now, path)

    async def _chunks(self, path: tuple[str, ...], limit: int) -> AsyncGenerator[bytes, None]:
        file = await self._do(self._open_now, path)
        done = 0
        try:
            # By position: a thread that outlives a cancelled read must not move the place in somebody else's file.
            while chunk := await asyncio.to_thread(os.pread, file, PIECE, done):
                done += len(chunk)
                if done > limit:
                    raise too_large(limit)
                yield chunk
        finally:
            os.close(file)

    async def _write(self, path: tuple[str, ...], data: bytes, replace: bool) -> None:
        await self._do(self._write_now, path, data, replace)

    async def _create(self, path: tuple[str, ...], data: bytes) -> bool:
        return await self._do(self._create_now, path, data)

    async def _move(self, source: tuple[str, ...], target: tuple[str, ...]) -> None:
        await self._do(self._move_now, source, target)

    async def _delete(self, path: tuple[str, ...]) -> None:
        await self._do(self._delete_now, path)

    async def _do(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return await asyncio.to_thread(work, *arguments)
        except FileNotFoundError:
            raise NotFound(f"{self._name} has no such file or folder", code="no_file") from None
        except FileExistsError:
            raise Conflict(f"{self._name} has that file already", code="file_exists") from None
        except PermissionError:
            raise Misconfigured(f"the hub may not do this in {self._name}", code="mailbox_denied") from None
        except OSError as error:
            if isinstance(error, NotADirectoryError) or error.errno in _LINKS:
                raise Misconfigured(f"a link or file in {self._name} stands for a folder", code="bad_mailbox") from None
            raise Retry(f"{self._name}: {error.strerror}", code="mailbox_failed", after=30.0) from None

    @contextlib.contextmanager
    def _folder(self, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """The folder as an open descriptor, walked part by part without following links."""
        try:
            here = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            raise Misconfigured("the hub has no feeds directory", code="no_feeds_directory") from None
        try:
            for depth, part in enumerate((*self._base, *parts)):
                try:
                    inner = os.open(part, _FOLDER, dir_fd=here)
                except FileNotFoundError:
                    if depth < len(self._base):
                        raise Misconfigured(
                            f"there is no directory {self._name!r} below the hub's feeds directory", code="no_mailbox"
                        ) from None
                    if not make:
                        raise
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o770, dir_fd=here)
                    inner = os.open(part, _FOLDER, dir_fd=here)
                os.close(here)
                here = inner
            yield here
        finally:
            os.close(here)

    def _list_now(self, folder: tuple[str, ...], files: bool) -> list[Entry]:
        found: list[Entry] = []
        with self._folder(folder) as here, os.scandir(here) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not honest(entry.name):
                    continue
                if entry.is_file(follow_symlinks=False) if files else entry.is_dir(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):  # taken away meanwhile
                        found.append(_entry(entry.name, entry.stat(follow_symlinks=False)))
                if len(found) > MOST_ENTRIES:
                    raise Broken(f"{self._name} holds more than {MOST_ENTRIES} files", code="too_many_files")
        return found

    def _stat_now(self, path: tuple[str, ...]) -> Entry | None:
        try:
            with self._folder(path[:-1]) as here:
                seen = os.stat(path[-1], dir_fd=here, follow_symlinks=False)
        except FileNotFoundError:
            return None
        return _entry(path[-1], seen) if modes.S_ISREG(seen.st_mode) else None

    def _open_now(self, path: tuple[str, ...]) -> int:
        with self._folder(path[:-1]) as here:
            file = os.open(path[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=here)
        if not modes.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise Misconfigured(f"{'/'.join(path)} is not a regular file", code="bad_mailbox_path")
        return file

    def _write_now(self, path: tuple[str, ...], data: bytes, replace: bool) -> None:
        name, hidden = path[-1], temporary(path[-1])
        with self._folder(path[:-1], make=True) as here:
            try:
                _put(hidden, data, here)
                if replace:
                    os.rename(hidden, name, src_dir_fd=here, dst_dir_fd=here)
                else:
                    os.link(hidden, name, src_dir_fd=here, dst_dir_fd=here)  # never replaces
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(hidden, dir_fd=here)
            os.fsync(here)

    def _create_now(self, path: tuple[str, ...], data: bytes) -> bool:
        with self._folder(path[:-1], make=True) as here:
            try:
                _put(path[-1], data, here)
            except FileExistsError:
                return False
            os.fsync(here)
        return True

    def _move_now(self, source: tuple[str, ...], target: tuple[str, ...]) -> None:
        with self._folder(source[:-1]) as here, self._folder(target[:-1], make=True) as there:
            if not modes.S_ISREG(os.stat(source[-1], dir_fd=here, follow_symlinks=False).st_mode):
                raise Misconfigured(f"{'/'.join(source)} is not a regular file", code="bad_mailbox_path")
            try:
                os.stat(target[-1], dir_fd=there, follow_symlinks=False)
            except FileNotFoundError:
                os.rename(source[-1], target[-1], src_dir_fd=here, dst_dir_fd=there)
            else:
                raise FileExistsError
            os.fsync(there)
            os.fsync(here)

    def _delete_now(self, path: tuple[str, ...]) -> None:
        with contextlib.suppress(FileNotFoundError), self._folder(path[:-1]) as here:
            os.unlink(path[-1], dir_fd=here)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_LINKS = (40, 62, 20)  # ELOOP on Linux and macOS, ENOTDIR: O_NOFOLLOW met a link


def _put(name: str, data: bytes, folder: int) -> None:
    file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o660, dir_fd=folder)
    with os.fdopen(file, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def _entry(name: str, seen: os.stat_result) -> Entry:
    return Entry(name, seen.st_size, datetime.fromtimestamp(seen.st_mtime, UTC))
