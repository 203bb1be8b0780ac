"""Subtitles of words with times. Pure functions.

The numbers are those of broadcasters' guidelines: two lines of 42 letters (16 of a script as wide
as Chinese), at most 6 s, and 17 letters a second (6 wide ones) to read where the speech leaves the
time.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from asr_client._types import Char, Word

MAX_LINE_CHARS = 42
MAX_CUE_CHARS = 2 * MAX_LINE_CHARS
MAX_CUE_S = 6.0
MIN_CUE_S = 1.0
MAX_CHARS_PER_S = 17.0
PAUSE_S = 0.7
"""A pause of this length ends a cue: a new sentence or another speaker probably follows."""
_WIDE = MAX_LINE_CHARS / 16
"""Columns of a letter as wide as it is high."""
_ENDS = (".?!\u2026\u3002\uff1f\uff01", ",;:\u3001\uff0c\uff1b\uff1a")
"""Marks after which a cue may end early, the better ones first."""
# No line begins with these (JIS X 4051): marks of repetition and length, small kana. Nor with a
# closing bracket or a mark of _ENDS; and none ends with an opening bracket.
_STAY_BEHIND = frozenset(
    "\u3005\u303b\u309d\u309e\u30fc\u30fd\u30fe\u30fb"
    "\u3041\u3043\u3045\u3047\u3049\u3063\u3083\u3085\u3087\u308e"
    "\u30a1\u30a3\u30a5\u30a7\u30a9\u30c3\u30e3\u30e5\u30e7\u30ee\u30f5\u30f6"
).union(*_ENDS)
_MAX_TOGETHER = 4
"""Letters that stay together with their marks: a row of dots may be cut."""
_ORPHAN = 1 / 3
"""A last cue of less than this share of a full one gets words of the one before."""
# Scripts without spaces between words: Thai, Lao, Tibetan, Myanmar, Khmer.
_UNSPACED = ((0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF))


@dataclass(frozen=True, kw_only=True, slots=True)
class Cue:
    """Words that are shown together."""

    text: str
    """One line, or two lines of similar length."""
    start_s: float
    end_s: float
    channel: int | None = None
    """The speaker's channel, with `channel="separate"`."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """A word, or a letter of a word that is cut."""

    text: str
    start_s: float
    end_s: float
    joiner: str
    """What stands before it, except at the start of a line."""


def cues(words: Sequence[Word], chars: Sequence[Char] = ()) -> tuple[Cue, ...]:
    """Split words into cues, sorted by their start; those of one channel do not overlap.

    A cue ends at a pause, and before it exceeds two lines or `MAX_CUE_S`, after a punctuation mark
    if there is one. It is shown for `MIN_CUE_S` and as long as it takes to read, or until the next
    one of its channel. A word longer than two lines or `MAX_CUE_S`, as in a language without
    spaces, is cut between letters.

    Args:
        words: of a transcript.
        chars: of the same transcript, for the times of the letters of a word that is cut; without
            them the letters share the word's time evenly.
    """
    found: list[Cue] = []
    for channel in dict.fromkeys(word.channel for word in words):
        own = [word for word in words if word.channel == channel]
        letters = [char for char in chars if char.channel == channel]
        max_line = MAX_LINE_CHARS - (0 if channel is None else len(speaker(channel)) + 2)
        groups = [
            group
            for phrase in _phrases(list(_units(own, letters)))
            for group in _groups(phrase, max_line)
        ]
        starts = [group[0].start_s for group in groups[1:]] + [math.inf]
        for group, next_start_s in zip(groups, starts, strict=True):
            # A wide letter takes as long to read as it is wide.
            shown_s = max(MIN_CUE_S, _columns(_line(group)) / MAX_CHARS_PER_S)
            found.append(
                Cue(
                    text=_two_lines(group, max_line),
                    start_s=group[0].start_s,
                    end_s=max(group[-1].end_s, min(group[0].start_s + shown_s, next_start_s)),
                    channel=channel,
                )
            )
    return tuple(sorted(found, key=lambda cue: (cue.start_s, cue.end_s)))


def as_srt(words: Sequence[Word], chars: Sequence[Char] = ()) -> str:
    """SubRip, the speaker before the text where channels are apart; arguments as of `cues`."""
    return "".join(
        f"{number}\n{_clock(cue.start_s, ',')} --> {_clock(cue.end_s, ',')}\n"
        f"{'' if cue.channel is None else speaker(cue.channel) + ': '}{cue.text}\n\n"
        for number, cue in enumerate(cues(words, chars), 1)
    )


def as_vtt(words: Sequence[Word], chars: Sequence[Char] = ()) -> str:
    """WebVTT, with a voice for each channel where they are apart; arguments as of `cues`."""
    return "WEBVTT\n\n" + "".join(
        f"{_clock(cue.start_s, '.')} --> {_clock(cue.end_s, '.')}\n"
        f"{'' if cue.channel is None else f'<v {speaker(cue.channel)}>'}"
        f"{escape(cue.text, quote=False)}\n\n"
        for cue in cues(words, chars)
    )


def speaker(channel: int) -> str:
    """The name of a channel's speaker."""
    return f"Speaker {channel + 1}"


def _units(words: Sequence[Word], chars: Sequence[Char]) -> Iterator[_Unit]:
    place = 0
    for word in words:
        # The word's own letters, as long as the two lists agree.
        end, spelled = place, ""
        while end < len(chars) and len(spelled) < len(word.text):
            spelled += chars[end].text
            end += 1
        own = chars[place:end] if spelled == word.text else ()
        place = end if own else place
        if not _is_cut(word):
            yield _Unit(word.text, word.start_s, word.end_s, " ")
            continue
        joiner = " "
        for text, start_s, end_s in _letters(word, own):
            yield _Unit(text, start_s, end_s, joiner)
            joiner = ""


def _is_cut(word: Word) -> bool:
    if len(word.text) < 2:
        return False
    unspaced = any(_columns(letter) > 1 or _is_unspaced(letter) for letter in word.text)
    too_long = _columns(word.text) > MAX_CUE_CHARS or word.end_s - word.start_s > MAX_CUE_S
    return too_long or (unspaced and _columns(word.text) > MAX_LINE_CHARS)


def _is_unspaced(letter: str) -> bool:
    return any(low <= ord(letter) <= high for low, high in _UNSPACED)


def _letters(word: Word, chars: Sequence[Char]) -> Iterator[tuple[str, float, float]]:
    """The letters of a word with their times, each with the marks that belong to it."""
    length_s = (word.end_s - word.start_s) / len(word.text)
    timed = [(char.text, char.start_s, char.end_s) for char in chars] or [
        (letter, word.start_s + place * length_s, word.start_s + (place + 1) * length_s)
        for place, letter in enumerate(word.text)
    ]
    text, start_s, end_s = timed[0]
    for following, next_start_s, next_end_s in timed[1:]:
        if _belong_together(text, following[0]):
            text, end_s = text + following, next_end_s
            continue
        yield text, start_s, end_s
        text, start_s, end_s = following, next_start_s, next_end_s
    yield text, start_s, end_s


def _belong_together(text: str, following: str) -> bool:
    """Whether no line may end between a letter, with what belongs to it, and the following one."""
    kind = unicodedata.category(following)
    is_mark = kind[0] == "M" or following in "\u200d\ufe0f"
    is_closing = kind in ("Pe", "Pf") or following in _STAY_BEHIND
    is_after_opening = unicodedata.category(text[-1]) in ("Ps", "Pi")
    return is_mark or ((is_closing or is_after_opening) and len(text) < _MAX_TOGETHER)


def _phrases(units: list[_Unit]) -> Iterator[list[_Unit]]:
    """The units between two pauses."""
    begin = 0
    for place in range(1, len(units) + 1):
        if place == len(units) or units[place].start_s - units[place - 1].end_s >= PAUSE_S:
            yield units[begin:place]
            begin = place


def _groups(phrase: list[_Unit], max_line: int) -> list[list[_Unit]]:
    """The units of each cue of a phrase."""
    groups: list[list[_Unit]] = []
    rest = phrase
    while rest:
        end = 1
        while end < len(rest) and _fits(rest[: end + 1], max_line):
            end += 1
        if end < len(rest):
            end = _better_end(rest, end)
        groups.append(rest[:end])
        rest = rest[end:]
    if len(groups) > 1 and _columns(_line(groups[-1])) < _ORPHAN * 2 * max_line:
        both = groups[-2] + groups[-1]
        evenly = [
            (abs(_columns(_line(both[:cut])) - _columns(_line(both[cut:]))), cut)
            for cut in range(1, len(both))
            if _fits(both[:cut], max_line) and _fits(both[cut:], max_line)
        ]
        # A sentence that has just ended stays apart.
        if evenly and groups[-2][-1].text[-1] not in _ENDS[0]:
            cut = min(evenly)[1]
            groups[-2:] = [both[:cut], both[cut:]]
    return groups


def _fits(group: Sequence[_Unit], max_line: int) -> bool:
    if len(group) == 1:
        return True
    if group[-1].end_s - group[0].start_s > MAX_CUE_S:
        return False
    width = _columns(_line(group))
    if width <= max_line:
        return True
    if width > 2 * max_line + 1:
        return False
    if len(group) == 2:
        return True  # A word may be longer than a line.
    first = 1
    while first < len(group) and _columns(_line(group[: first + 1])) <= max_line:
        first += 1
    return _columns(_line(group[first:])) <= max_line


def _better_end(rest: Sequence[_Unit], end: int) -> int:
    """The place after the last good punctuation mark in the second half, else the end."""
    for marks in _ENDS:
        for place in range(end, end // 2, -1):
            if rest[place - 1].text[-1:] in marks:
                return place
    return end


def _two_lines(group: Sequence[_Unit], max_line: int) -> str:
    text = _line(group)
    if _columns(text) <= max_line or len(group) == 1:
        return text
    lines = [(_line(group[:cut]), _line(group[cut:])) for cut in range(1, len(group))]
    return "\n".join(min(lines, key=lambda pair: max(map(_columns, pair))))


def _line(group: Sequence[_Unit]) -> str:
    return group[0].text + "".join(unit.joiner + unit.text for unit in group[1:])


def _columns(text: str) -> float:
    """The width of a text in narrow letters; marks on letters have none."""
    if text.isascii():
        return len(text)
    return sum(
        _WIDE if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
        if unicodedata.category(letter) not in ("Mn", "Me")
    )


def _clock(time_s: float, point: str) -> str:
    minutes, ms = divmod(round(time_s * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{ms // 1000:02d}{point}{ms % 1000:03d}"
