"""Lands a file on disk before anything reads it: the digest is then known before the first row, a download that
breaks off never becomes half a catalogue, and memory stays constant whatever the file's size."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any, Self

from connectors.tables.limits import DEFAULT, MIB, Limits, too_large, unreadable

_GZIP = b"\x1f\x8b"
_IN_MEMORY = 2 * MIB
_SLICE = 64 * 1024  # compressed bytes handled in one go
_STEP = MIB  # how much is decompressed between two looks at the caps


@dataclass
class Spooled:
    """A landed, decompressed file: binary, seekable, positioned anywhere. Close it (or use `with`)."""

    file: IO[bytes]
    size: int
    digest: str  # SHA-256 of the decompressed bytes, hexadecimal

    def close(self) -> None:
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Gunzip:
    """Decompresses gzip members as they come, a bounded step at a time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._inflater = zlib.decompressobj(31)
        self._in = 0
        self._out = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decompressed pieces of `data`, each at most one step long."""
        self._in += len(data)
        full = False  # the last piece filled its step: more may be waiting inside
        while data or full:
            if self._inflater.eof:  # concatenated members are one stream; padding zeros may follow the last
                data = data.lstrip(b"\0")
                if not data:
                    return
                self._inflater = zlib.decompressobj(31)
            try:
                piece = self._inflater.decompress(data, _STEP)
            except zlib.error as error:
                raise unreadable(f"the gzip data is damaged: {error}", "bad_gzip") from error
            full = len(piece) == _STEP and not self._inflater.eof
            data = self._inflater.unconsumed_tail or self._inflater.unused_data
            self._out += len(piece)
            limits = self._limits
            if self._out > limits.total_bytes:
                raise too_large(f"the file unpacks to more than {limits.total_bytes} bytes", "file_too_large")
            if self._out > limits.ratio_after and self._out > limits.ratio * self._in:
                raise too_large(f"the gzip data unpacks to more than {limits.ratio} times its size", "gzip_bomb")
            if piece:
                yield piece

    def finish(self) -> None:
        """Raises Malformed when the stream ended before its own end mark."""
        if not self._inflater.eof:
            raise unreadable("the gzip data breaks off before its end; the file is truncated", "truncated_gzip")


class _Sink:
    """Takes raw bytes, unwraps up to two layers of gzip (a transfer's and the file's own), writes and hashes."""

    def __init__(self, file: IO[bytes], limits: Limits, layers: int = 2) -> None:
        self._file = file
        self._limits = limits
        self._head: bytes | None = b""
        self._gunzip: _Gunzip | None = None
        self._inner: _Sink | None = None
        self._layers = layers
        self.digest = hashlib.sha256()
        self.size = 0

    def feed(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            if len(self._head) < 2:
                return
            data, self._head = self._head, None
            if self._layers and data.startswith(_GZIP):
                self._gunzip = _Gunzip(self._limits)
                self._inner = _Sink(self._file, self._limits, self._layers - 1)
        if self._gunzip is None or self._inner is None:
            self._write(data)
            return
        for piece in self._gunzip.feed(data):
            self._inner.feed(piece)

    def finish(self) -> tuple[int, str]:
        """Size and digest of what was written; raises Malformed for a truncated stream."""
        if self._gunzip is not None and self._inner is not None:
            self._gunzip.finish()
            return self._inner.finish()
        if self._head:
            head, self._head = self._head, None
            self._write(head)
        return self.size, self.digest.hexdigest()

    def _write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size > self._limits.total_bytes:
            raise too_large(f"the file is larger than {self._limits.total_bytes} bytes", "file_too_large")
        self.digest.update(data)
        self._file.write(data)


async def land(chunks: AsyncIterator[bytes], limits: Limits = DEFAULT) -> Spooled:
    """Write an incoming file to disk, unpacking gzip. Raises Malformed (empty, damaged or truncated) and TooLarge
    (a cap was passed) as soon as it is known."""
    file: Any = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - owned by the Spooled returned
    try:
        sink = _Sink(file, limits)
        async for chunk in chunks:
            for start in range(0, len(chunk), _SLICE):
                sink.feed(chunk[start : start + _SLICE])
                await asyncio.sleep(0)  # a slice that unpacks a lot must not hold up everybody else
        size, digest = sink.finish()
        if size == 0:
            raise unreadable("the file is empty", "empty_file")
        file.seek(0)
        return Spooled(file, size, digest)
    except BaseException:
        file.close()
        raise
