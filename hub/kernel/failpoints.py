"""Named places where a test may kill the process, to show that what follows is recovered. Off by default."""

from __future__ import annotations

import os
import signal

_name = os.environ.get("SUPPLYHUB_FAILPOINT", "")


def failpoint(name: str) -> None:
    """Kill this process with SIGKILL if the environment names this point; otherwise nothing."""
    if _name and _name == name:
        os.kill(os.getpid(), signal.SIGKILL)
