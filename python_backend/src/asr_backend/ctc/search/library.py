"""Calls the search in C."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from asr_backend.ctc.emissions import Emissions

LIBRARY = Path(__file__).with_name("libasr_ctc_search.so")

MIN_SYMBOL_SCORE = -5.0
"""Symbols below this natural log-probability in a frame are left out, but for the best one."""
MAX_BEHIND = 10.0
"""Beginnings whose score is further behind the best are dropped."""

_NO_LABEL = -1
_STOPPED, _NO_MEMORY, _MODEL_FAILED, _NOTHING_LEFT = 1, 2, 3, 4
_POINTS, _INTS = ctypes.POINTER(ctypes.c_uint32), ctypes.POINTER(ctypes.c_int32)
_DOUBLES = ctypes.POINTER(ctypes.c_double)
_MODEL = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_int32, _INTS, ctypes.POINTER(ctypes.c_uint32), _INTS, _DOUBLES, _INTS
)


class SearchStopped(Exception):
    """The search was stopped, because its text is no longer wanted."""


class SearchNotBuilt(Exception):
    """There is no library for this machine."""


class WordModel(Protocol):
    """A language model as the search uses it.

    States are its own, and hashable; a later score depends on them.
    """

    unknown_score: float
    """Score of a beginning that no known word has, for six letters or fewer; 0 without words."""
    max_word_score: float
    """No word scores more than this."""
    history: int
    """Number of words that a later score may depend on."""

    @property
    def known_words(self) -> Collection[str]:
        """All words that it knows, each once; empty if they are not listed."""
        ...

    def start(self) -> Any:
        """The state at the start of a text."""
        ...

    def score(self, state: Any, word: str) -> tuple[float, Any]:
        """The score of a word after a state, and the state after the word."""
        ...

    def end_score(self, state: Any) -> float:
        """The score of a text's end after a state."""
        ...


class _Settings(ctypes.Structure):
    """Settings of search.c."""

    _fields_ = (
        ("points", _POINTS),
        ("point_start", _INTS),
        ("label", _INTS),
        ("symbols", ctypes.c_int32),
        ("delimiter", ctypes.c_int32),
        ("symbols_are_words", ctypes.c_int32),
        ("word_points", _POINTS),
        ("word_start", _INTS),
        ("words", ctypes.c_int32),
        ("hot_points", _POINTS),
        ("hot_start", _INTS),
        ("hots", ctypes.c_int32),
        ("hot_weight", ctypes.c_double),
        ("unknown_score", ctypes.c_double),
        ("max_word_score", ctypes.c_double),
        ("history", ctypes.c_int32),
        ("beam_width", ctypes.c_int32),
        ("min_symbol_score", ctypes.c_double),
        ("max_behind", ctypes.c_double),
    )


class Stop:
    """Ends a search that runs in another thread, at its next frame."""

    def __init__(self) -> None:
        self.flag = ctypes.c_int32(0)

    def set(self) -> None:
        """End it."""
        self.flag.value = 1


class _Strings:
    """Strings as search.c reads them: their code points in one array, and where each begins."""

    def __init__(self, strings: Sequence[str]) -> None:
        self.count = len(strings)
        joined = "".join(strings).encode("utf-32-le", "surrogatepass")
        self._points = np.frombuffer(joined or bytes(4), np.uint32)
        starts = np.cumsum([0, *map(len, strings)], dtype=np.int64)
        if starts[-1] >= 2**31:
            raise ValueError("the words of the language model have 2^31 letters or more")
        self._starts = starts.astype(np.int32)
        self.points = self._points.ctypes.data_as(_POINTS)
        self.starts = self._starts.ctypes.data_as(_INTS)


class PrefixSearch:
    """The search for one vocabulary and language model; safe to use from several threads.

    Args:
        labels: what each symbol writes: "" for those that count as blank, " " between words.
        model: the language model; None if all words are equally likely.
        symbols_are_words: whether each symbol is a word of its own, as phonemes are.

    Raises:
        SearchNotBuilt: there is no library for this machine.
    """

    def __init__(
        self,
        labels: Sequence[str],
        model: WordModel | None = None,
        *,
        symbols_are_words: bool = False,
    ) -> None:
        self._library = load_library()
        self._model = model
        self._labels = _Strings(["" if label == " " else label for label in labels])
        ids = {label: id_ for id_, label in enumerate(dict.fromkeys(labels))}
        self._label_ids = np.array([ids[label] for label in labels], np.int32)
        self._symbols_are_words = symbols_are_words
        self._delimiter = ids.get(" ", _NO_LABEL)
        # Python sorts strings by code points.
        self._words = _Strings(sorted(model.known_words) if model else ())

    def find(
        self,
        emissions: Emissions,
        *,
        beam_width: int,
        hotwords: Sequence[str],
        hotword_weight: float,
        state: Any,
        last: bool,
        stop: Stop,
    ) -> tuple[str, Any]:
        """Find the best text of some frames.

        Args:
            emissions: float32 [frames, vocabulary], log-softmax.
            beam_width: number of beginnings that are kept at each frame, 1 or more.
            hotwords: words without spaces.
            hotword_weight: added to the score for each hot word in the text.
            state: the language model's state before the text; None at the start.
            last: whether the end of the text is scored.
            stop: ends the search from another thread.

        Returns:
            The words with a space between any two, and the language model's state after them.

        Raises:
            SearchStopped: `stop` was set.
            MemoryError: the search did not fit.
            ValueError: the emissions are of another shape, or a frame has NaN or no symbol.
        """
        frames = self._checked(emissions)
        hot = _Strings(sorted(set(hotwords)))
        settings = self._settings(beam_width, hot, hotword_weight)
        asked = None if self._model is None else _Asked(self._model, state, last=last)
        text, length, after = _POINTS(), ctypes.c_int32(), ctypes.c_int32()
        failure = self._library.asr_ctc_search(
            ctypes.byref(settings),
            frames.ctypes.data_as(ctypes.POINTER(ctypes.c_float)),
            len(frames),
            _MODEL() if asked is None else _MODEL(asked),
            ctypes.byref(stop.flag),
            ctypes.byref(text),
            ctypes.byref(length),
            ctypes.byref(after),
        )
        if failure == _STOPPED:
            raise SearchStopped
        if failure == _NO_MEMORY:
            raise MemoryError("the beam search does not fit into memory")
        if failure == _MODEL_FAILED:
            assert asked is not None
            assert asked.error is not None
            raise asked.error
        if failure == _NOTHING_LEFT:
            raise ValueError("the language model's scores are NaN")
        found = _text(text, length.value)
        self._library.asr_ctc_free(text)
        return found, None if asked is None else asked.states[after.value]

    def _checked(self, emissions: Emissions) -> Emissions:
        """The emissions as search.c reads them, which trusts their shape and values."""
        if emissions.ndim != 2 or emissions.shape[1] != self._labels.count:
            raise ValueError(f"emissions {emissions.shape} for {self._labels.count} symbols")
        if not np.isfinite(emissions.max(axis=1)).all():
            raise ValueError("a frame of the emissions has NaN or no possible symbol")
        return np.ascontiguousarray(np.minimum(emissions, 0), np.float32)

    def _settings(self, beam_width: int, hot: _Strings, hotword_weight: float) -> _Settings:
        model = self._model
        return _Settings(
            points=self._labels.points,
            point_start=self._labels.starts,
            label=self._label_ids.ctypes.data_as(_INTS),
            symbols=self._labels.count,
            delimiter=self._delimiter,
            symbols_are_words=self._symbols_are_words,
            word_points=self._words.points,
            word_start=self._words.starts,
            words=self._words.count,
            hot_points=hot.points,
            hot_start=hot.starts,
            hots=hot.count,
            hot_weight=hotword_weight,
            unknown_score=model.unknown_score if model else 0.0,
            max_word_score=model.max_word_score if model else 0.0,
            history=max(1, model.history) if model else 1,
            beam_width=beam_width,
            min_symbol_score=MIN_SYMBOL_SCORE,
            max_behind=MAX_BEHIND,
        )


class _Asked:
    """The language model in one search: the search has the numbers of states, this the states."""

    def __init__(self, model: WordModel, state: Any, *, last: bool) -> None:
        self._model, self._last = model, last
        self.states = [model.start() if state is None else state]
        # Each state once: an unsure search asks for many more words than a model has states.
        self._numbers = {self.states[0]: 0}
        self.error: BaseException | None = None

    def __call__(
        self, count: int, states: Any, points: Any, start: Any, scores: Any, new_states: Any
    ) -> int:
        try:
            if not points:
                for i in range(count):
                    scores[i] = self._model.end_score(self.states[states[i]]) if self._last else 0
                return 0
            starts = start[: count + 1]
            words = _text(points, starts[-1])
            for i, before in enumerate(states[:count]):
                word = words[starts[i] : starts[i + 1]]
                scores[i], after = self._model.score(self.states[before], word)
                number = new_states[i] = self._numbers.setdefault(after, len(self.states))
                if number == len(self.states):
                    self.states.append(after)
        except BaseException as error:
            # It cannot pass through C.
            self.error = error
            return 1
        return 0


def load_library(path: Path = LIBRARY) -> ctypes.CDLL:
    """Load the library.

    Raises:
        SearchNotBuilt: there is none for this machine.
    """
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise SearchNotBuilt(
            f"beam search is not built for this machine ({error}); python tools/build_native.py "
            "search --compiler cc builds it"
        ) from None
    library.asr_ctc_search.restype = ctypes.c_int32
    library.asr_ctc_search.argtypes = (
        ctypes.POINTER(_Settings),
        ctypes.POINTER(ctypes.c_float),
        ctypes.c_int64,
        _MODEL,
        _INTS,
        ctypes.POINTER(_POINTS),
        _INTS,
        _INTS,
    )
    library.asr_ctc_free.restype = None
    library.asr_ctc_free.argtypes = (_POINTS,)
    library.asr_ctc_sources.restype = ctypes.c_char_p
    return library


def _text(points: Any, length: int) -> str:
    if not length:
        return ""
    return ctypes.string_at(points, 4 * length).decode("utf-32-le", "surrogatepass")
