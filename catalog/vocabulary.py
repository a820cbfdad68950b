"""The words that titles hold, and what a query meant that found nothing by them: a slip of the keyboard, the sound
instead of the characters ("kouzhao", "口照" for 口罩), words run together. Words with digits are models and
amounts and are never corrected, and a query of known words is never corrected: then there is no such thing. Pure."""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product as combinations
from typing import NamedTuple

import rjieba
from pypinyin import lazy_pinyin
from rapidfuzz import process
from rapidfuzz.distance import OSA

from catalog.segment import CJK, fold, singular

LONGEST = 40  # characters of a query that is corrected
CANDIDATES = 3  # queries that are tried at most
LONGEST_WORD = 8  # characters of a Chinese word that is looked for by its sound
_PIECES = re.compile(rf"[{CJK}]+|[^\W_{CJK}]+")
_IS_CJK = re.compile(f"[{CJK}]").match
_LAST_CHARACTER = "\U0010ffff"
MANY = 40_000  # words that are compared with a query's: some 20 ms
_SUGGESTED_FROM = 200  # words of a beginning that are looked at, the most frequent ones
_UNKNOWN = 3.0  # what a character costs that is in no known word, where a homophone costs 1


def pinyin(word: str) -> str | None:
    """The syllables of a Chinese word without tones, with spaces between them; None for other words."""
    return " ".join(lazy_pinyin(word)) if _IS_CJK(word) else None


class Known(NamedTuple):
    """A word and how many listed products hold it."""

    word: str
    products: int


class Vocabulary:
    """Words by how they are written and how they sound."""

    def __init__(self, rows: Iterable[tuple[str, int, str | None]]) -> None:
        self._products: dict[str, int] = {}
        self._by_sound: dict[str, list[str]] = defaultdict(list)
        by_length: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # and first letter
        beginnings: list[tuple[str, str]] = []  # as written or as it sounds, and the word
        for word, products, sound in rows:
            self._products[word] = products
            beginnings.append((word, word))
            if sound is not None:
                joined = sound.replace(" ", "")
                self._by_sound[joined].append(word)
                beginnings.append((joined, word))
            else:
                by_length[len(word)][word[0]].append(word)
        self._by_length = dict(by_length)
        for words in self._by_sound.values():
            words.sort(key=self._rank)
        beginnings.sort()
        self._beginnings = beginnings

    def __len__(self) -> int:
        return len(self._products)

    def _rank(self, word: str) -> tuple[int, str]:
        return -self._products[word], word

    # What may follow

    def beginning(self, prefix: str) -> list[Known]:
        """The most frequent words that are written or sound like this at the start."""
        start = bisect_left(self._beginnings, (prefix, ""))
        end = bisect_left(self._beginnings, (prefix + _LAST_CHARACTER, ""))
        words = {word for _, word in self._beginnings[start:end]}
        return [Known(word, self._products[word]) for word in heapq.nsmallest(_SUGGESTED_FROM, words, key=self._rank)]

    # What was meant

    def corrected(self, q: str) -> list[str]:
        """Queries that `q` may have meant, the likeliest first; none when every word of it is known."""
        pieces = _PIECES.findall(fold(q)) if len(q) <= LONGEST else []
        choices = [self._meant(piece, last=i == len(pieces) - 1) for i, piece in enumerate(self._syllables(pieces))]
        found = []
        for ways in combinations(*choices):
            text = " ".join(ways)
            if text != " ".join(pieces):
                found.append(text)
            if len(found) == CANDIDATES:
                break
        return found

    def _syllables(self, pieces: Sequence[str]) -> list[str]:
        """Syllables typed with spaces between them ("kou zhao") put together where that is how a word sounds."""
        found: list[str] = []
        at = 0
        while at < len(pieces):
            for end in range(min(len(pieces), at + LONGEST_WORD), at + 1, -1):
                some = pieces[at:end]
                joined = "".join(some)
                if joined in self._by_sound and not any(piece in self._products for piece in some):
                    found.append(joined)
                    at = end
                    break
            else:
                found.append(pieces[at])
                at += 1
        return found

    def _meant(self, piece: str, last: bool) -> list[str]:
        """Ways of writing one piece of a query, the likeliest first; the piece itself when nothing is better."""
        if any(character.isdigit() for character in piece):
            return [piece]
        if _IS_CJK(piece):
            return [self._by_ear(piece)]
        if singular(piece) in self._products or (last and self.beginning_exists(piece)):
            return [piece]
        sounding = self._by_sound.get(piece, [])[:CANDIDATES]
        return sounding or self._mistyped(piece) or self._run_together(piece) or [piece]

    def beginning_exists(self, prefix: str) -> bool:
        at = bisect_left(self._beginnings, (prefix, ""))
        while at < len(self._beginnings) and self._beginnings[at][0].startswith(prefix):
            if self._beginnings[at][0] == self._beginnings[at][1]:  # as it is written
                return True
            at += 1
        return False

    def _by_ear(self, run: str) -> str:
        """A run of characters as known words, some of them for characters that sound the same: with as few changes as
        can be, then with the most frequent words."""
        words = rjieba.cut(run, False)
        if all(len(word) > 1 and word in self._products for word in words):
            return run
        sounds = lazy_pinyin(run)
        if len(sounds) != len(run):
            return run
        best: list[tuple[float, float, tuple[str, ...]]] = [(0.0, 0.0, ())]
        for end in range(1, len(run) + 1):
            cost, rarity, before = best[end - 1]
            ways = [(cost + _UNKNOWN, rarity, (*before, run[end - 1]))]
            for start in range(max(0, end - LONGEST_WORD), end - 1):
                cost, rarity, before = best[start]
                written = run[start:end]
                for word in self._by_sound.get("".join(sounds[start:end]), ()):
                    if len(word) == end - start:
                        change = 0.0 if word == written else 1.0
                        ways.append((cost + change, rarity + 1 / self._products[word], (*before, word)))
            best.append(min(ways))
        text = " ".join(best[-1][2])
        return run if text.replace(" ", "") == run else text

    def _mistyped(self, word: str) -> list[str]:
        """Words of Latin letters at most one slip away, two in long ones; those that begin the same come first."""
        slips = 0 if len(word) < 4 else 1 if len(word) < 8 else 2
        if not slips:
            return []
        lengths = [self._by_length[n] for n in range(len(word) - slips, len(word) + slips + 1) if n in self._by_length]
        near: list[tuple[str, int, int]] = []
        # The first letter is right, or changed places with the second or went missing; others only where words are few.
        for letters in (set(word[:2]), set().union(*lengths)):
            words = [w for by_letter in lengths for letter in letters for w in by_letter.get(letter, ())]
            if not near and len(words) <= MANY:
                near = process.extract(word, words, scorer=OSA.distance, processor=None, score_cutoff=slips, limit=50)
        ranked = sorted(near, key=lambda hit: (hit[1], hit[0][0] != word[0], *self._rank(hit[0])))
        return [hit[0] for hit in ranked[:CANDIDATES]]

    def _run_together(self, word: str) -> list[str]:
        """Two words, or the sounds of several, that were written without a space."""
        pairs = [
            (word[:i], word[i:])
            for i in range(2, len(word) - 1)
            if word[:i] in self._products and singular(word[i:]) in self._products
        ]
        if pairs:
            pairs.sort(key=lambda pair: -min(self._products[pair[0]], self._products[singular(pair[1])]))
            return [" ".join(pairs[0])]
        best: list[tuple[int, float, tuple[str, ...]] | None] = [(0, 0.0, ())]
        for end in range(1, len(word) + 1):
            ways = [
                (held[0] + 1, held[1] + 1 / self._products[sounding[0]], (*held[2], sounding[0]))
                for start in range(end)
                if (held := best[start]) is not None and (sounding := self._by_sound.get(word[start:end]))
            ]
            best.append(min(ways) if ways else None)
        return [" ".join(best[-1][2])] if best[-1] is not None else []
