"""The search in C finds what pyctcdecode's finds, without the interpreter's lock."""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import math
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asr_backend.ctc.emissions import Emissions
from asr_backend.ctc.language_model import Ngrams
from asr_backend.ctc.ngram_files import NgramFiles
from asr_backend.ctc.search import library
from asr_backend.ctc.search.library import PrefixSearch, SearchNotBuilt, SearchStopped, Stop
from tests.support.backend import pyctcdecode_search
from tests.support.ngrams import arpa
from tools import build_native

LABELS = ("", " ", "A", "B", "C")
OTHER_LABELS = (
    LABELS,
    ("", "", " ", "A", "B", "AB", "BA", "ABA"),
    ("t", "th", "h", "", "ʒ"),
    ("", " ", "我", "們", "𝄞"),
)
WIDE = (*"ABCDEFGHIJKLMNOPQRSTUVWXYZ'", "", " ")


def drawn(rng: np.random.Generator, frames: int, labels: Sequence[str], spread: float) -> Emissions:
    """Log-softmax of normal noise: flat at a spread of 0, sure of itself at 10."""
    logits = rng.normal(0, spread, (frames, len(labels)))
    logits -= logits.max(axis=1, keepdims=True)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return logits.astype(np.float32)


def find(search: PrefixSearch, frames: Emissions, **options: Any) -> tuple[str, Any]:
    given = {"beam_width": 50, "hotwords": (), "hotword_weight": 10.0, "last": True}
    return search.find(frames, **{"state": None, "stop": Stop(), **given, **options})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[NgramFiles]:
    """Language models whose words are listed, and not; with a start and an end, and without."""
    folder = tmp_path_factory.mktemp("models")
    words = {"".join(word): 0.05 for n in (1, 2, 3) for word in itertools.product("AB", repeat=n)}
    model = folder / "model.arpa"
    model.write_text(arpa({**words, "我": 0.1}, {("A", "B"): 0.5, ("AB", "BA"): 0.3}))
    unlisted = folder / "unigrams.txt"
    unlisted.write_text("")
    return [
        NgramFiles(model=model),
        NgramFiles(model=model, unigrams=unlisted, beta=0.5),
        NgramFiles(model=model, alpha=2.0, unk_score_offset=-1.0, score_boundary=False),
        NgramFiles(model=model, alpha=-0.5),
    ]


@settings(max_examples=150)
@given(data=st.data())
def test_it_finds_what_pyctcdecode_finds(models: list[NgramFiles], data: st.DataObject) -> None:
    labels = data.draw(st.sampled_from(OTHER_LABELS))
    files = data.draw(st.sampled_from([None, *models]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    frames = drawn(rng, data.draw(st.integers(1, 40)), labels, data.draw(st.floats(0.01, 5)))
    letters = [label for label in labels if label.strip()]
    word = st.lists(st.sampled_from(letters), min_size=1, max_size=4).map("".join)
    options = {
        "beam_width": data.draw(st.sampled_from([1, 2, 5, 20, 100])),
        "hotwords": data.draw(st.lists(word, max_size=3)),
        "hotword_weight": data.draw(st.sampled_from([0.0, 1.0, 10.0, -3.0])),
        "last": data.draw(st.booleans()),
    }
    search = PrefixSearch(labels, None if files is None else Ngrams(files))
    text, state = find(search, frames, **options)
    expected, expected_state = pyctcdecode_search.find(labels, files, frames, **options)
    assert text == expected
    assert state == expected_state


@given(data=st.data())
def test_phonemes_are_words(models: list[NgramFiles], data: st.DataObject) -> None:
    labels = ("", "A", "B", "AB", "BA", "ʒ", "ABA")
    files = data.draw(st.sampled_from([None, *models]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    frames = drawn(rng, data.draw(st.integers(1, 40)), labels, data.draw(st.floats(0.01, 5)))
    options = {
        "beam_width": data.draw(st.sampled_from([1, 5, 100])),
        "hotwords": data.draw(st.lists(st.sampled_from(labels[1:]), max_size=2)),
        "hotword_weight": data.draw(st.sampled_from([1.0, 10.0])),
        "last": data.draw(st.booleans()),
    }
    model = None if files is None else Ngrams(files)
    search = PrefixSearch(labels, model, symbols_are_words=True)
    expected = pyctcdecode_search.find(labels, files, frames, **options, symbols_are_words=True)
    assert find(search, frames, **options) == expected


def test_a_long_and_unsure_text_with_many_hot_words(models: list[NgramFiles]) -> None:
    """Its trees are cleaned several times."""
    rng = np.random.default_rng(5)
    frames = drawn(rng, 250, WIDE, 0.5)
    hotwords = ["".join(rng.choice(list("ABCDEFGH"), 6)) for _ in range(40)]
    for files in (None, models[1]):
        search = PrefixSearch(WIDE, None if files is None else Ngrams(files))
        options = {"beam_width": 100, "hotwords": hotwords, "hotword_weight": 3.0, "last": True}
        found = find(search, frames, **options)
        assert found == pyctcdecode_search.find(WIDE, files, frames, **options)
        assert len(found[0]) > 20


def test_a_state_goes_on_where_a_text_ended(models: list[NgramFiles]) -> None:
    search = PrefixSearch(LABELS, Ngrams(models[0]))
    between = drawn(np.random.default_rng(0), 1, LABELS, 0)
    between[0, :4] = np.log(0.001)
    between[0, LABELS.index("A")] = np.log(0.48)
    between[0, LABELS.index("B")] = np.log(0.47)
    assert find(search, between)[0] == "A"
    first = between.copy()
    first[0, LABELS.index("B")] = np.log(0.01)
    said, state = find(search, first, last=False)
    assert said == "A"
    # B follows A in the model.
    assert find(search, between, state=state)[0] == "B"


def test_nothing() -> None:
    assert find(PrefixSearch(LABELS), np.zeros((0, len(LABELS)), np.float32)) == ("", None)


class Words:
    """A language model of all words, which calls a function for each."""

    known_words = ()
    unknown_score = 0.0
    max_word_score = 0.0
    history = 1

    def __init__(self, called: Any) -> None:
        self._called = called

    def start(self) -> str:
        return ""

    def score(self, state: str, word: str) -> tuple[float, str]:
        self._called(word)
        return 0.0, word

    def end_score(self, state: str) -> float:
        return 0.0


def spoken(words: int) -> Emissions:
    """`A` and a space, over and over."""
    frames = np.full((2 * words, len(LABELS)), math.log(1e-6), np.float32)
    frames[0::2, LABELS.index("A")] = frames[1::2, LABELS.index(" ")] = math.log(0.99)
    return frames


def test_a_search_ends_at_the_frame_at_which_it_is_stopped() -> None:
    """A wide search of a segment takes seconds, in which its caller may go."""
    stop, words = Stop(), []

    def called(word: str) -> None:
        words.append(word)
        if len(words) == 10:
            stop.set()

    with pytest.raises(SearchStopped):
        find(PrefixSearch(LABELS, Words(called)), spoken(1000), stop=stop)
    assert words == ["A"] * 10


def test_what_a_language_model_raises_is_raised() -> None:
    def called(word: str) -> None:
        raise ZeroDivisionError(word)

    with pytest.raises(ZeroDivisionError, match="A"):
        find(PrefixSearch(LABELS, Words(called)), spoken(3))


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
@pytest.mark.parametrize("frame", [0, 5])
def test_a_frame_without_a_possible_symbol_is_refused(bad: float, frame: int) -> None:
    frames = spoken(3)
    frames[frame] = bad
    with pytest.raises(ValueError, match="NaN or no possible symbol"):
        find(PrefixSearch(LABELS), frames)


def test_emissions_of_another_vocabulary_are_refused() -> None:
    """The search would read beyond their end."""
    for frames in (spoken(3)[:, :-1], spoken(3)[0], drawn(np.random.default_rng(0), 3, WIDE, 1)):
        with pytest.raises(ValueError, match="for 5 symbols"):
            find(PrefixSearch(LABELS), frames)


def test_scores_that_are_no_numbers_are_refused() -> None:
    class Nan(Words):
        def score(self, state: str, word: str) -> tuple[float, str]:
            return math.nan, word

    with pytest.raises(ValueError, match="scores are NaN"):
        find(PrefixSearch(LABELS, Nan(None)), spoken(3))


def test_a_state_of_the_language_model_is_held_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flat emissions ask for thousands of words at each frame."""
    asked: list[Any] = []

    class Remembered(library._Asked):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            asked.append(self)

    monkeypatch.setattr(library, "_Asked", Remembered)
    words: list[str] = []

    class FewStates(Words):
        def score(self, state: str, word: str) -> tuple[float, str]:
            words.append(word)
            return 0.0, word[:1]

    frames = drawn(np.random.default_rng(3), 100, LABELS, 0.05)
    find(PrefixSearch(LABELS, FewStates(None)), frames)
    assert len(words) > 500
    assert sorted(asked[0].states) == ["", "A", "B", "C"]


def test_other_threads_run_meanwhile() -> None:
    """A thread that counts in Python gets on while another searches without a model."""
    frames = drawn(np.random.default_rng(1), 3000, WIDE, 0.2)
    begun, ended = threading.Event(), threading.Event()

    def searching() -> None:
        begun.set()
        find(PrefixSearch(WIDE), frames, beam_width=200)
        ended.set()

    thread = threading.Thread(target=searching)
    thread.start()
    begun.wait()
    count = 0
    while not ended.is_set():
        count += 1
    thread.join()
    # A search that held the lock would let this thread count a few times between two calls.
    assert count > 10_000


def test_searches_side_by_side_find_what_one_finds(models: list[NgramFiles]) -> None:
    search = PrefixSearch(LABELS, Ngrams(models[0]))
    parts = [drawn(np.random.default_rng(seed), 100, LABELS, 1) for seed in range(8)]
    alone = [find(search, part) for part in parts]
    together: list[Any] = [None] * len(parts)

    def searching(index: int) -> None:
        together[index] = find(search, parts[index])

    threads = [threading.Thread(target=searching, args=(i,)) for i in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_its_memory_is_bounded_and_given_back() -> None:
    """Flat emissions: every frame brings thousands of new beginnings."""
    process, search = psutil.Process(), PrefixSearch(WIDE)
    frames = drawn(np.random.default_rng(2), 1000, WIDE, 0.05)
    find(search, frames[:100], beam_width=100)
    before, highest = process.memory_info().rss, 0
    done = threading.Event()

    def searching() -> None:
        find(search, frames, beam_width=100)
        done.set()

    thread = threading.Thread(target=searching)
    thread.start()
    while not done.wait(0.005):
        highest = max(highest, process.memory_info().rss)
    thread.join()
    assert highest - before < 20e6


def test_a_machine_without_the_library(tmp_path: Path) -> None:
    (tmp_path / "other.so").write_bytes(b"\x7fELF for another machine")
    with pytest.raises(SearchNotBuilt, match=r"build_native\.py"):
        library.load_library(tmp_path / "other.so")


def test_the_library_is_that_of_the_source_beside_it() -> None:
    assert build_native.SEARCH.library == library.LIBRARY
    assert says(library.LIBRARY) == build_native.SEARCH.sources_hash()
    assert library.LIBRARY.stat().st_size < 32_000


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_its_source_compiles_without_a_warning(tmp_path: Path) -> None:
    build_native.SEARCH.build(["cc"], tmp_path / "built.so")
    assert says(tmp_path / "built.so") == build_native.SEARCH.sources_hash()


@pytest.mark.skipif(
    importlib.util.find_spec("ziglang") is None,
    reason="needs ziglang, 80 MB that nothing else needs: pip install ziglang==0.13.0",
)
def test_the_same_compiler_makes_the_same_bytes(tmp_path: Path) -> None:
    build_native.SEARCH.build(build_native.zig(), tmp_path / "built.so")
    assert (tmp_path / "built.so").read_bytes() == library.LIBRARY.read_bytes()


def says(path: Path) -> str:
    """The hash of its sources that the library contains."""
    sources = ctypes.CDLL(str(path)).asr_ctc_sources
    sources.restype = ctypes.c_char_p
    return str(sources().decode())
