"""Counts of calls: times, failures, transcripts and their word error rate."""

from __future__ import annotations

import functools
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from load_tests.report.live_tally import LiveTally
from load_tests.run.corpus import Clip
from tools.word_errors import word_errors

_word_errors = functools.lru_cache(maxsize=4096)(word_errors)

Texts = Counter[tuple[str, str]]
"""How often a clip, by its name, got a transcript."""


@dataclass(kw_only=True)
class Tally:
    """Counts that grow with every call; those of several generators add up."""

    latencies_s: array[float] = field(default_factory=lambda: array("d"))
    """Of every call that ended, failed ones included."""

    audio_s: float = 0.0
    """Seconds of audio that were answered with a transcript."""

    failures: Counter[str] = field(default_factory=Counter)
    """Failed calls by their code."""

    texts: Texts = field(default_factory=Counter)

    refused: int = 0
    """Bad inputs that were refused with their own code, as they should be."""

    live: LiveTally = field(default_factory=LiveTally)
    """The words of live streams; their latencies above count from the end of their audio."""

    @property
    def requests(self) -> int:
        """Calls that ended, failed ones included."""
        return len(self.latencies_s)

    @property
    def failed(self) -> int:
        """Calls that ended with an unexpected error."""
        return self.failures.total()

    def answered(self, clip: Clip, latency_s: float, text: str) -> bool:
        """Note a transcript; False when it is one of a bad input, which is a failure."""
        self.latencies_s.append(latency_s)
        if clip.refusal is not None:
            self.failures[f"no {clip.refusal}"] += 1
            return False
        self.audio_s += clip.duration_s
        self.texts[clip.name, text] += 1
        return True

    def ended(self, clip: Clip, latency_s: float, error: Exception) -> bool:
        """Note an error; True when it is the one that this clip is to be refused with."""
        self.latencies_s.append(latency_s)
        code = code_of(error)
        if code == clip.refusal:
            self.refused += 1
            return True
        self.failures[code] += 1
        return False

    def add(self, other: Tally) -> None:
        """Add the counts of another tally."""
        self.latencies_s.extend(other.latencies_s)
        self.audio_s += other.audio_s
        self.failures.update(other.failures)
        self.texts.update(other.texts)
        self.refused += other.refused
        self.live.add(other.live)

    def percentile_s(self, share: float) -> float:
        """The time that this share of the calls, 0 to 1, did not exceed; 0 without calls."""
        return percentile(self.latencies_s, share)

    def mean_s(self) -> float:
        """The mean time of a call; 0 without calls."""
        return sum(self.latencies_s) / len(self.latencies_s) if self.latencies_s else 0.0

    def to_message(self) -> dict[str, Any]:
        """Plain values for another process."""
        return {
            "latencies_s": self.latencies_s.tobytes(),
            "audio_s": self.audio_s,
            "failures": dict(self.failures),
            "texts": [[*key, count] for key, count in self.texts.items()],
            "refused": self.refused,
            "live": self.live.to_message(),
        }

    @classmethod
    def from_message(cls, message: Mapping[str, Any]) -> Tally:
        """What `to_message` gave, of a process on a machine of the same byte order."""
        latencies_s = array("d")
        latencies_s.frombytes(message["latencies_s"])
        return cls(
            latencies_s=latencies_s,
            audio_s=message["audio_s"],
            failures=Counter(message["failures"]),
            texts=Counter({(name, text): count for name, text, count in message["texts"]}),
            refused=message["refused"],
            live=LiveTally.from_message(message["live"]),
        )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of all values, 0 to 1, does not exceed; 0 without any."""
    if not values:
        return 0.0
    return float(np.percentile(values, 100 * share, method="inverted_cdf"))


def code_of(error: Exception) -> str:
    """The contract's code of an SDK error, else the class's name."""
    return getattr(error, "code", None) or type(error).__name__


def word_error_rate(texts: Texts, corpus: Iterable[Clip]) -> float | None:
    """Errors over spoken words, over all transcripts, without regard to case; None without any."""
    words = {clip.name: clip.words for clip in corpus}
    errors = sum(n * _word_errors(words[name], text.lower()) for (name, text), n in texts.items())
    spoken = sum(n * len(words[name].split()) for (name, _), n in texts.items())
    return errors / spoken if spoken else None


def changed(texts: Texts, alone: Mapping[str, str]) -> int:
    """How many transcripts are not the one that the clip gets when it is the only call."""
    return sum(n for (name, text), n in texts.items() if text != alone.get(name, text))
