import csv
import io
import wave

import pytest

from load_tests.corpus import MAX_CLIP_S, RECORDINGS, build_corpus

CORPUS = build_corpus(seed=7)


def test_same_seed_same_bytes_and_another_seed_others():
    assert build_corpus(seed=7) == CORPUS
    assert build_corpus(seed=8) != CORPUS


def test_clips_are_wav_files_of_the_stated_length():
    for clip in CORPUS:
        with wave.open(io.BytesIO(clip.wav)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
            assert file.getnframes() / 16000 == clip.duration_s


def test_lengths_are_mixed():
    lengths = sorted(clip.duration_s for clip in CORPUS)
    assert lengths[0] >= 1.0
    assert lengths[0] < 2.0
    assert 9.0 < lengths[-1] <= MAX_CLIP_S
    assert len(set(lengths)) > len(lengths) / 2


def test_words_are_those_of_whole_recordings_in_order():
    with (RECORDINGS / "transcripts.tsv").open(newline="") as table:
        texts = [row["text"] for row in csv.DictReader(table, delimiter="\t")]
    for clip in CORPUS:
        rest = clip.words
        while rest:
            assert any(rest.startswith(text) for text in texts)
            rest = rest.removeprefix(next(t for t in texts if rest.startswith(t))).lstrip()
    assert max(len(clip.words.split()) for clip in CORPUS) > 9


def test_recordings_of_unlike_rates_are_refused(tmp_path):
    for name, rate in (("a.wav", 8000), ("b.wav", 16000)):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(bytes(rate))
    (tmp_path / "transcripts.tsv").write_text("file\ttext\na.wav\tone\nb.wav\ttwo\n")
    with pytest.raises(ValueError, match="not all of one sample rate"):
        build_corpus(seed=0, recordings=tmp_path)
