"""What a code or a text means. A carrier's table comes first; words decide only where no table speaks, and what neither
knows stays unknown."""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass

from fulfillment.carriers.contracts import CarrierStatus, Cause
from fulfillment.carriers.names import load

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])")
_SEPARATORS = re.compile(r"[_\-/|·,;:!()\[\]{}\"„“”’`]+")
_LONGEST = 400  # characters of a text that are looked at
_COMPOUND = 12  # a longer word with capitals inside is several words; a shorter one may be a name


@dataclass(frozen=True, slots=True)
class Meaning:
    """A status, and the carrier's evidence of why it cannot deliver."""

    status: CarrierStatus
    cause: Cause | None = None


_VAGUE = frozenset({"exception", "alert", "failure", "info", "error", "异常"})
UNKNOWN = Meaning(CarrierStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Rule:
    meaning: Meaning
    of: re.Pattern[str]
    unless: re.Pattern[str] | None

    def fits(self, text: str) -> bool:
        return self.of.search(text) is not None and (self.unless is None or self.unless.search(text) is None)


def _any(patterns: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


@functools.cache
def _rules() -> tuple[_Rule, ...]:
    return tuple(
        _Rule(
            Meaning(CarrierStatus(rule["is"]), rule.get("cause")),
            _any(rule["of"]),
            _any(rule["unless"]) if "unless" in rule else None,
        )
        for rule in load("words.yaml")
    )


@functools.lru_cache(maxsize=8192)
def of_words(text: str) -> Meaning:
    """What a text says in the languages that words.yaml knows; unknown for any other."""
    plain = folded(text)
    return next((rule.meaning for rule in _rules() if rule.fits(plain)), UNKNOWN) if plain else UNKNOWN


def is_vague(text: str) -> bool:
    """Whether a word only says that something is the matter: what else the carrier says goes before it."""
    return folded(text) in _VAGUE


def folded(text: str) -> str:
    """The text as the rules read it."""
    cut = unicodedata.normalize("NFKD", text[:_LONGEST])
    bare = unicodedata.normalize("NFC", "".join(c for c in cut if not unicodedata.combining(c)))
    words = bare.replace("ß", "ss").split()
    cut_words = (_CAMEL.sub(" ", word) if len(words) == 1 or len(word) > _COMPOUND else word for word in words)
    return " ".join(_SEPARATORS.sub(" ", " ".join(cut_words)).lower().split())
