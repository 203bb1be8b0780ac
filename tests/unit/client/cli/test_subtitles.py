from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_client import Char, ModelInfo, Timing, Transcript, Word
from asr_client.cli import subtitles


def said(*timed: tuple[str, float, float], channel: int | None = None) -> tuple[Word, ...]:
    return tuple(
        Word(text=text, start_s=start_s, end_s=end_s, confidence=0.5, channel=channel)
        for text, start_s, end_s in timed
    )


def evenly(texts: list[str], *, step_s: float = 0.4) -> tuple[Word, ...]:
    return said(*((t, n * step_s, (n + 0.9) * step_s) for n, t in enumerate(texts)))


def transcript(words: tuple[Word, ...]) -> Transcript:
    return Transcript(
        text=" ".join(word.text for word in words),
        duration_s=10.0,
        confidence=0.5,
        words=words,
        chars=(),
        channels=(),
        model=ModelInfo(id="", revision=""),
        timing_ms=Timing(decode=0, acoustic=0, ctc=0, total=0),
        request_id="",
    )


WORDS = said(("ten", 0.5, 0.9), ("<of>", 1.0, 1.1), ("clubs", 3661.0, 3661.9996))


def test_srt() -> None:
    assert subtitles.as_srt(transcript(WORDS)) == (
        "1\n00:00:00,500 --> 00:00:01,500\nten <of>\n\n2\n01:01:01,000 --> 01:01:02,000\nclubs\n\n"
    )


def test_vtt_escapes_what_it_would_read_as_markup() -> None:
    assert subtitles.as_vtt(transcript(WORDS)) == (
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.500\nten &lt;of&gt;\n\n"
        "01:01:01.000 --> 01:01:02.000\nclubs\n\n"
    )


def test_tsv() -> None:
    assert subtitles.as_tsv(transcript(WORDS[:1])) == (
        "start_s\tend_s\tconfidence\ttext\n0.500\t0.900\t0.5000\tten\n"
    )


def test_silence_is_an_empty_file_of_its_format() -> None:
    nothing = transcript(())
    assert [format(nothing) for format in subtitles.FORMATS.values()] == [
        "\n",
        "",
        "WEBVTT\n\n",
        "start_s\tend_s\tconfidence\ttext\n",
    ]


def test_a_pause_or_another_channel_starts_a_cue() -> None:
    words = said(("a", 0, 1), ("b", 1.1, 2), ("c", 2.8, 3)) + said(("d", 3, 4), channel=1)
    assert [cue.text for cue in subtitles.cues(words)] == ["a b", "c", "d"]


def test_a_short_cue_stays_but_not_into_the_next() -> None:
    first, second = subtitles.cues(said(("a", 0, 0.1), ("b", 0.9, 1.0)))
    assert (first.end_s, second.end_s) == (0.9, 1.9)


def test_long_speech_is_split_into_two_even_lines() -> None:
    cue = subtitles.cues(evenly(["abcdefghi"] * 6, step_s=0.5))[0]
    assert cue.text == "\n".join([" ".join(["abcdefghi"] * 3)] * 2)


@given(st.lists(st.text("abc", min_size=1, max_size=60), max_size=80), st.floats(0.05, 3))
def test_no_word_is_lost_and_no_cue_is_unreadable(texts: list[str], step_s: float) -> None:
    words = evenly(texts, step_s=step_s)
    cues = subtitles.cues(words)
    assert " ".join(cue.text for cue in cues).split() == texts
    for cue in cues:
        alone = len(cue.text.split()) == 1
        assert len(cue.text) <= subtitles.MAX_CUE_CHARS or alone
        assert cue.text.count("\n") <= 1
        assert cue.end_s - cue.start_s <= subtitles.MAX_CUE_S + 1e-9 or alone
    for cue, following in itertools.pairwise(cues):
        assert cue.end_s <= following.start_s + 1e-9


def columns(line: str) -> float:
    return sum(42 / 16 if letter >= "\u2e80" else 1 for letter in line)


@pytest.mark.parametrize("letter", ["字", "a", "ก"])
@pytest.mark.parametrize("exact", [True, False])
def test_a_language_without_spaces_is_cut_between_letters(letter: str, exact: bool) -> None:
    """562 letters of one word in 58 s, with two pauses."""
    letters, now = [], 0.0
    for place in range(562):
        now += 1.0 if exact and place in (100, 300) else 0.0
        letters.append(Char(text=letter, start_s=now, end_s=now + 0.08, confidence=0.9))
        now += 0.1
    word = Word(text=letter * 562, start_s=0.0, end_s=now, confidence=0.9)
    found = subtitles.cues((word,), tuple(letters) if exact else ())
    assert "".join(cue.text.replace("\n", "") for cue in found) == word.text
    for cue, following in itertools.pairwise(found):
        assert cue.end_s <= following.start_s + 1e-9
    for cue in found:
        lines = cue.text.split("\n")
        assert len(lines) <= 2
        assert all(columns(line) <= subtitles.MAX_LINE_CHARS for line in lines)
        assert cue.end_s - cue.start_s <= subtitles.MAX_CUE_S + 1e-9
    if exact:
        starts = [cue.start_s for cue in found]
        assert letters[100].start_s in starts
        assert letters[300].start_s in starts


def test_marks_stay_with_their_letters() -> None:
    word = Word(text="กี่" * 60, start_s=0.0, end_s=30.0, confidence=0.9)
    found = subtitles.cues((word,))
    assert len(found) > 1
    for cue in found:
        for line in cue.text.split("\n"):
            assert len(line) % 3 == 0


def test_separate_channels_have_speakers_and_do_not_cut_each_other() -> None:
    left = said(*((f"l{n}", n * 0.5, n * 0.5 + 0.4) for n in range(10)), channel=0)
    right = said(*((f"r{n}", n * 0.5 + 0.2, n * 0.5 + 0.6) for n in range(10)), channel=1)
    both = tuple(sorted(left + right, key=lambda word: word.start_s))
    found = subtitles.cues(both)
    assert [(cue.channel, cue.text) for cue in found] == [
        (0, " ".join(f"l{n}" for n in range(10))),
        (1, " ".join(f"r{n}" for n in range(10))),
    ]
    assert "\nSpeaker 1: l0 l1" in subtitles.as_srt(transcript(both))
    assert "\n<v Speaker 2>r0 r1" in subtitles.as_vtt(transcript(both))


timeline = st.lists(
    st.tuples(st.text("abc.,字", min_size=1, max_size=200), st.floats(0, 3), st.floats(0, 12)),
    max_size=40,
)


@given(timeline, timeline)
def test_any_speech_of_two_speakers(
    left: list[tuple[str, float, float]], right: list[tuple[str, float, float]]
) -> None:
    words: list[Word] = []
    for channel, drawn in enumerate((left, right)):
        now = 0.0
        for text, pause, length in drawn:
            words += said((text, now + pause, now + pause + length), channel=channel)
            now += pause + length
    words.sort(key=lambda word: word.start_s)
    found = subtitles.cues(words)
    assert [cue.start_s for cue in found] == sorted(cue.start_s for cue in found)
    for channel in (0, 1):
        own = [cue for cue in found if cue.channel == channel]
        shown = "".join("".join(cue.text.split()) for cue in own)
        assert shown == "".join(word.text for word in words if word.channel == channel)
        for cue, following in itertools.pairwise(own):
            assert cue.end_s <= following.start_s + 1e-9
        for cue in own:
            assert cue.text.count("\n") <= 1
            # One letter, with its mark, may last as long as it likes.
            assert (
                cue.end_s - cue.start_s <= subtitles.MAX_CUE_S + 1e-9
                or len(cue.text.strip(".,")) <= 1
            )


def test_a_cue_stays_as_long_as_it_takes_to_read() -> None:
    words = said(("a" * 34, 0, 0.5), ("b" * 34, 3.0, 3.5), ("c", 4.6, 4.7))
    assert [cue.end_s for cue in subtitles.cues(words)] == [2.0, 4.6, 5.6]


def test_a_sentence_ends_a_cue_and_no_word_is_left_alone() -> None:
    text = "the first sentence of the speech is quite long already. then another one goes on and on"
    words = evenly(text.split(), step_s=0.3)
    assert subtitles.cues(words)[0].text.endswith("already.")
    words = evenly([*["abcdefgh"] * 9, "end"], step_s=0.3)
    assert all(len(cue.text.split()) > 1 for cue in subtitles.cues(words))


@pytest.mark.parametrize(
    "text",
    [
        "我們在查看這些數字時發現北部地區幾乎沒有人收到這封信、而收到信的人當中不到十分之一。" * 3,
        "ソフトウェアーの開発においてもっとも重要なのはチームワークとコミュニケーションである" * 3,
        "他說「這是整個計劃的重點」但是部門又寄了同樣的信『沒有人明白』所以必須再寄一次吧" * 3,
    ],
)
@pytest.mark.parametrize("shift", range(8))
def test_no_line_begins_with_a_mark_or_a_small_letter(text: str, shift: int) -> None:
    text = text[shift:]
    found = subtitles.cues(said((text, 0.0, len(text) / 6)))
    lines = [line for cue in found for line in cue.text.split("\n")]
    assert "".join(lines) == text
    for line in lines[1:]:
        assert line[0] not in "、。」』ーェッュョ"
    assert all(line[-1] not in "「『" for line in lines)


def test_wide_letters_are_shown_for_as_long_as_they_take_to_read() -> None:
    (cue,) = subtitles.cues(said(("我們在查看這些數字時發現北部地區", 0.0, 1.5)))
    assert cue.end_s == pytest.approx(42 / 17)
