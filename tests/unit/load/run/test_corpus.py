import io
import wave

import pytest

from load_tests.run.corpus import KINDS, build_corpus, digest
from tools.recordings import transcripts

COUNTS = {"commands": 8, "sentences": 8, "meetings": 2}
CORPUS = build_corpus(seed=7, mix=COUNTS)


def test_same_seed_same_bytes_and_another_seed_others():
    assert build_corpus(seed=7, mix=COUNTS) == CORPUS
    assert build_corpus(seed=8, mix=COUNTS) != CORPUS
    assert digest(build_corpus(seed=7, mix=COUNTS)) == digest(CORPUS)
    assert digest(build_corpus(seed=8, mix=COUNTS)) != digest(CORPUS)
    assert digest(CORPUS[::-1]) != digest(CORPUS)


def test_clips_of_a_kind_do_not_depend_on_the_mix():
    alone = build_corpus(seed=7, mix={"commands": 8})
    assert set_of(alone) == {clip for clip in set_of(CORPUS) if clip[0].startswith("commands")}


def set_of(corpus):
    return {(clip.name, clip.audio) for clip in corpus}


def test_clips_are_wav_files_of_the_stated_length():
    for clip in CORPUS:
        with wave.open(io.BytesIO(clip.audio)) as file:
            assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
            assert file.getnframes() / 16000 == clip.duration_s


@pytest.mark.parametrize("kind", COUNTS)
def test_lengths_fill_the_range_of_their_kind(kind):
    lengths = sorted(clip.duration_s for clip in CORPUS if clip.kind == kind)
    assert len(lengths) == COUNTS[kind]
    assert lengths[0] < 1.4 * KINDS[kind].shortest_s
    assert lengths[-1] > 0.5 * KINDS[kind].longest_s
    assert 0.7 * KINDS[kind].shortest_s < lengths[0]
    assert lengths[-1] <= KINDS[kind].longest_s
    assert len(set(lengths)) > len(lengths) / 2


def test_words_are_those_of_whole_recordings_in_order():
    texts = [text for _, text in transcripts()]
    for clip in CORPUS:
        rest = clip.words
        while rest:
            assert any(rest.startswith(text) for text in texts)
            rest = rest.removeprefix(next(t for t in texts if rest.startswith(t))).lstrip()
    assert max(len(clip.words.split()) for clip in CORPUS) > 100


def test_recordings_of_different_rates_are_refused(tmp_path):
    for name, rate in (("a.wav", 8000), ("b.wav", 16000)):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(bytes(rate))
    (tmp_path / "transcripts.tsv").write_text("file\ttext\na.wav\tone\nb.wav\ttwo\n")
    with pytest.raises(ValueError, match="not all of one sample rate"):
        build_corpus(seed=0, recordings=tmp_path)
