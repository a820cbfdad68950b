"""What two readings say of each other, as it is found and as it is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Difference(NamedTuple):
    """A field on which both sides speak, and what each says."""

    field: str
    left: str
    right: str


@dataclass(slots=True)
class Comparison:
    """What two readings say of each other. `left` and `right` are the shares of each title's weight that the other
    title has; `left_said` and `right_said` count what only the other's description or brand has."""

    left: float = 0.0
    right: float = 0.0
    left_said: float = 0.0
    right_said: float = 0.0
    code: float = 0.0  # weight of the rarest code that both have
    shared: int = 0  # words of the left title that the right one has
    shared_weight: float = 0.0
    agreeing: list[Difference] = field(default_factory=list)
    conflicts: list[Difference] = field(default_factory=list)  # each refuses
    one_sided: list[str] = field(default_factory=list)  # what only one says
    codes_foreign: bool = False  # both have codes, and none in common
    codes_apart: bool = False
    numbers_apart: bool = False
    unlike: list[Difference] = field(default_factory=list)  # on which both say something else, without refusing
    brands_apart: bool = False
    only_makers: bool = False  # and hardly anything else tells them apart
    left_over: float = 0.0  # weight of the words that the other title, description and brand do not have
    right_over: float = 0.0
