"""A newcomer who does what the connector guide's walk says has a green connector at its end."""

from __future__ import annotations

import re
from pathlib import Path

from connectors import kit, scaffold

GUIDE = (Path(__file__).parents[2] / "docs" / "connector-guide.md").read_text(encoding="utf-8")
WALK = GUIDE.split("## A walk from nothing to green", 1)[1].split("\n## ", 1)[0]


def files() -> dict[str, str]:
    """File under the connector's folder -> what the walk has one write into it."""
    steps = re.findall(r"becomes `([a-z_./]+)`:\n\n```[a-z]+\n(.*?)```", WALK, re.DOTALL)
    return dict(steps)


async def test_the_walk_ends_green(tmp_path: Path) -> None:
    folder = scaffold.create("lanhai", tmp_path)
    [removed] = re.findall(r"`rm connectors/lanhai/([a-z_./]+)`", WALK)
    (folder / removed).unlink()
    assert set(files()) == {"fixtures/products.json", "manifest.yaml", "sandbox.py", "kit.py"}
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
    results = await kit.check(folder)
    assert [(r.check, r.detail) for r in results if r.outcome == "failed"] == []
    assert {"a_pull_ends", "garbage_is_broken", "secrets_stay_secret"} <= {
        r.check for r in results if r.outcome == "passed"
    }
