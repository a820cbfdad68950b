"""EDIFACT segments: cut out of a stream as the standard says, whatever the separators, the release characters, the
character set and the size of the pieces that are read."""

from __future__ import annotations

import io
import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydifact.segments import Segment as Written
from pydifact.serializer import Serializer

from connectors.edifact import segments as module
from connectors.edifact.segments import segments
from hub.kernel.errors import Malformed

HEAD = "UNB+UNOY:3+A:14+B:14+261124:0800+R1'"
TAIL = "UNZ+1+R1'"


def read(text: str | bytes, encoding: str = "") -> list[list[list[str]]]:
    raw = text.encode() if isinstance(text, str) else text
    return [[[one.tag], *one.elements] for one in segments(io.BytesIO(raw), encoding)]


def body(text: str, advice: str = "UNA:+.? '") -> list[list[list[str]]]:
    found = read(advice + HEAD + text + TAIL)
    assert (found[0][0], found[-1]) == (["UNB"], [["UNZ"], ["1"], ["R1"]])
    return found[1:-1]


RELEASED = [
    # what stands in the file -> the elements behind the tag
    ("FTX+a?'b?+c?:d??e'", [["a'b+c:d?e"]]),
    ("FTX+what???'s this'", [["what?'s this"]]),
    ("FTX+what??+next'", [["what?"], ["next"]]),
    ("FTX+ends with one ??'", [["ends with one ?"]]),
    ("FTX+??:?+:??'", [["?", "+", "?"]]),
    ("FTX++::x+'", [[""], ["", "", "x"], [""]]),
    ("FTX+?'UNA?:?+.?? ?'UNB?+UNOC?:3?''", [["'UNA:+.? 'UNB+UNOC:3'"]]),
    ("FTX+?'UNZ+1+R9'", [["'UNZ"], ["1"], ["R9"]]),
    ("FTX+a??b?c'", [["a?bc"]]),
]


@pytest.mark.parametrize(("text", "wanted"), RELEASED)
def test_a_release_character_takes_the_meaning_from_the_next_one(text: str, wanted: list[list[str]]) -> None:
    assert body(text) == [[["FTX"], *wanted]]


TEXTS = st.text(st.sampled_from("ab?'+:.,é药 "), max_size=6)


def _trimmed(elements: list[list[str]]) -> list[list[str]]:
    """Without the empty ends, which mean nothing and need not be written."""
    made = [[part.strip() for part in element] for element in elements]
    for one in [*made, made]:
        while one and not any(one[-1]):
            one.pop()
    return made


@given(st.lists(st.lists(TEXTS, min_size=1, max_size=3), min_size=1, max_size=4), st.booleans())
def test_what_pydifact_writes_is_read_as_it_was_meant(elements: list[list[str]], breaks: bool) -> None:
    made = Serializer().serialize([Written("FTX", *elements)])
    text = made.partition("FTX")[2].join(["FTX", ""])
    found = body(f"\r\n{text}\r\n" if breaks else text)
    assert _trimmed(found[0][1:]) == _trimmed(elements)


def test_the_size_of_the_pieces_read_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"LIN+{n}'\r\nFTX+it?'s ??{n}?+:{'?' * (n % 5) * 2}'\n" for n in range(60))
    raw = f"\ufeffUNA:+.? '\n{HEAD}\n{text}{TAIL}\r\n\x1a".encode()
    whole = read(raw)
    assert len(whole) == 122
    for size in (1, 2, 3, 7, 64, 1000):
        monkeypatch.setattr(module, "BLOCK", size)
        assert read(raw) == whole


@pytest.mark.parametrize("marks", [":+.? '", ":+,? '", ":+.! ~", "|^.\\ \n", "\x1f\x1d.\x1b \x1c", ":+.  '"])
def test_separators_are_those_that_the_file_advises(marks: str) -> None:
    component, element, release, end = marks[0], marks[1], marks[3], marks[5]
    text = f"UNA{marks}UNB+UNOY:3+A+B+261124:0800+R1'FTX+a:b+c'UNZ+1+R1'"
    text = text[:9] + text[9:].replace(":", component).replace("+", element).replace("'", end)
    assert read(text)[1] == [["FTX"], ["a", "b"], ["c"]]
    if release != " " and end != "\n":
        text = text.replace("FTX", f"FTX{element}{release}{end}", 1)
        assert read(text)[1] == [["FTX"], [end], ["a", "b"], ["c"]]


def test_a_file_whose_segments_end_with_the_line_is_read() -> None:
    found = read("UNB+UNOY:3+A+B+261124:0800+R1\nUNH+1+ORDRSP:D:96A:UN\r\nBGM+231+it's\nUNT+3+1\nUNZ+1+R1\n")
    assert [one[0][0] for one in found] == ["UNB", "UNH", "BGM", "UNT", "UNZ"] and found[2][2] == ["it's"]


CHARSETS = [
    ("UNOC", "latin-1", "Straße é"),
    ("UNOA", "ascii", "PLAIN"),
    ("UNOA", "utf-8", "布洛芬"),
    ("UNOB", "latin-1", "Füße"),
    ("UNOD", "iso8859-2", "Łódź"),
    ("UNOE", "iso8859-5", "Аптека"),
    ("UNOY", "utf-8", "布洛芬片"),
    ("UNOW", "utf-8", "药"),
    ("UNOY", "latin-1", "Füße"),
    ("UNOC", "utf-16", "布洛芬"),
    ("UNOW", "utf-16-be", "布洛芬"),
    ("UNOW", "utf-16-le", "药"),
]


@pytest.mark.parametrize(("identifier", "encoding", "said"), CHARSETS)
def test_text_is_read_in_the_character_set_of_its_header(identifier: str, encoding: str, said: str) -> None:
    raw = f"UNB+{identifier}:3+A+B+261124:0800+R1'FTX+{said}'UNZ+1+R1'".encode(encoding)
    assert read(raw)[1][1] == [said]


def test_the_settings_may_say_another_encoding_than_the_header() -> None:
    raw = "UNB+UNOX:3+A+B+261124:0800+R1'FTX+布洛芬片'UNZ+1+R1'".encode("gb18030")
    assert read(raw, "gb18030")[1][1] == ["布洛芬片"]
    with pytest.raises(Malformed, match="UNOX") as caught:
        read(raw)
    assert caught.value.code == "bad_charset"


def test_several_interchanges_each_have_their_own_separators_and_characters() -> None:
    one = "UNB+UNOC:3+A+B+261124:0800+R1'FTX+Füße'UNZ+1+R1'".encode("latin-1")
    two = "\r\nUNA:+.! ~UNB+UNOY:3+A+B+261124:0800+R2~FTX+药!~~UNZ+1+R2~\r\n".encode()
    assert [found[1] for found in read(one + two) if found[0] == ["FTX"]] == [["Füße"], ["药~"]]


BROKEN = [
    (b"<html>no</html>", "not_edifact"),
    (b"UNA+++++++UNB+UNOC:3'", "bad_una"),
    (b"UNAabcdefUNB", "bad_una"),
    (HEAD.encode() + b"lower+case'" + TAIL.encode(), "bad_segment"),
    (HEAD.encode() + b"FTX+" + b"x" * 70_000, "bad_segment"),
    (HEAD.encode() + b"\xff\xfe+\x00'" + TAIL.encode(), "bad_segment"),
    (HEAD.encode() + TAIL.encode() + b"and more", "not_edifact"),
]


@pytest.mark.parametrize(("raw", "code"), BROKEN)
def test_what_is_no_edifact_is_malformed(raw: bytes, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        read(raw)
    assert caught.value.code == code


def test_no_file_makes_the_reader_fail_in_another_way() -> None:
    """Bytes struck out, doubled and changed, in a file that was good: it is read or it is malformed."""
    chance = random.Random(7)
    good = f"UNA:+.? '{HEAD}UNH+1+PRICAT:D:96A:UN'LIN+1++4:SRV'IMD+F++:::a?'b'PRI+AAA:1,5'UNT+5+1'{TAIL}".encode()
    for _ in range(3_000):
        raw = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(raw))
            match chance.randrange(3):
                case 0:
                    del raw[at]
                case 1:
                    raw.insert(at, chance.choice(b"?'+: \n\xff\x00"))
                case _:
                    raw[at] = chance.randrange(256)
        try:
            read(bytes(raw))
        except Malformed:
            continue


def test_a_large_file_takes_no_more_memory_than_a_small_one() -> None:
    articles = "".join(f"LIN+{n}'IMD+F++:::it?'s no. {n}'PRI+AAA:1,5'" for n in range(8_000))
    file = io.BytesIO(f"{HEAD}{articles}{TAIL}".encode())
    tracemalloc.start()
    try:
        count = sum(1 for _ in segments(file))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 24_002 and peak < 1_000_000, peak
