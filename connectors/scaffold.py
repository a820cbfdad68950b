"""A new system's folder from `_template`: complete enough to pass the contract kit at once, so that every later step
starts from green."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from connectors.manifest import HOME
from hub.kernel.errors import Conflict, Rejected

TEMPLATE = HOME / "_template"


def create(name: str, root: Path | None = None) -> Path:
    """Make the folder `name` under `root` (default: connectors/ itself) and return it. Raises Rejected for a name that
    cannot be a Python package, Conflict when the folder is there already."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{1,40}", name):
        raise Rejected(
            "a connector's name is 2 to 41 lower-case letters, digits and _, a letter first", code="bad_name"
        )
    folder = (root or HOME) / name
    if folder.exists():
        raise Conflict(f"{folder} is there already", code="folder_exists")
    shutil.copytree(TEMPLATE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    camel = "".join(part.capitalize() for part in name.split("_") if part)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace("acme", name).replace("Acme", camel), encoding="utf-8")
    return folder
