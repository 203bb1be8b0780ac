from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from asr_client import ModelInfo, Timing, Transcript, Word
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
