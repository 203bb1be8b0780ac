"""Both decoders on the demo's test recordings: word errors, calibration and cost, as Markdown.

    python -m tools.measure_decoding --synthetic HELDOUT --spoken-digits DIGITS --speakers lucas

The language model is that of the checkpoint's folder. The network runs in fp32, one clip a forward.
Words and their confidences are those of a RESULT; the cost of a decoder, in time of the CPU, is the
median of runs taken in turn over all clips. A search is dearest where the network is unsure, so
noise and flat log-probabilities are measured too.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import psutil

from asr_backend.acoustic.engine.loading import load_engine
from asr_backend.acoustic.engine.protocol import Engine
from asr_backend.audio.format import SAMPLE_RATE_HZ
from asr_backend.checkpoint.description import demo_checkpoint, load_checkpoint
from asr_backend.ctc.decoders import BeamSettings, Decoders
from asr_backend.ctc.ngram_files import find_ngrams
from asr_backend.ctc.transcription import Transcription
from tools.calibration import BINS, expected_calibration_error, reliability
from tools.command import make_parser
from tools.demo_checkpoint.evaluation_sets import add_set_flags, evaluation_sets
from tools.demo_checkpoint.pcm import Clip
from tools.markdown import head, row, table
from tools.recordings import RECORDINGS
from tools.word_errors import right_words, word_errors

Emissions = npt.NDArray[np.float32]

RUNS = 5
COST = "CPU ms per second of audio"
FRAME_S = 0.02
HOUR_FRAMES = round(3600 / FRAME_S)
UNSURE_S = 60
BEAM = BeamSettings(width=100)
DECODERS = {
    "greedy": (None, False),
    "beam": (BEAM, False),
    "beam, language model": (BEAM, True),
    "the same, width 10": (BeamSettings(width=10), True),
}
"""Settings of beam search, None for greedy decoding, and whether the language model is used."""
HOT = BeamSettings(width=100, hotwords=("aces", "meters"))


@dataclass
class Measured:
    """One decoder over all clips."""

    errors: Counter[str] = field(default_factory=Counter)
    """Word errors of each set."""
    words: list[tuple[float, bool]] = field(default_factory=list)
    """Confidence of each word of the transcripts, and whether it is right."""
    times_s: list[float] = field(default_factory=list)


def main() -> None:
    """Print the tables."""
    parser = make_parser("tools.measure_decoding", __doc__)
    add_set_flags(parser, RECORDINGS)
    parser.add_argument("--speakers", nargs="*", default=[], help="speakers to judge")
    arguments = parser.parse_args()
    sets = evaluation_sets(arguments, arguments.speakers)
    clips = [clip for part in sets.values() for clip in part]
    checkpoint = load_checkpoint(demo_checkpoint())
    engine = load_engine(checkpoint, device="cpu", precision="fp32", threads=1)
    emissions = {
        name: [engine.forward([clip.samples])[0] for clip in part] for name, part in sets.items()
    }
    plain, informed = Decoders(checkpoint), Decoders(checkpoint, find_ngrams(checkpoint, ""))
    decoders = {name: informed if model else plain for name, (_, model) in DECODERS.items()}
    measured = measure(decoders, sets, emissions)
    said_words = {name: sum(len(clip.text.split()) for clip in part) for name, part in sets.items()}
    audio_s = sum(clip.duration_s for clip in clips)
    print(f"{len(clips)} clips, {sum(said_words.values())} words, {audio_s:.0f} s\n")
    print(head("word error rate", *DECODERS))
    for name, count in said_words.items():
        rates = [f"{one.errors[name] / count:.3f}" for one in measured.values()]
        print(row(f"{name} ({count} words)", *rates))
    print("\n" + head("decoder", "expected calibration error", COST))
    for name, one in measured.items():
        error = expected_calibration_error(reliability(one.words))
        print(row(name, f"{error:.3f}", f"{1000 * statistics.median(one.times_s) / audio_s:.2f}"))
    print("\n" + reliability_table(measured))
    print("\n" + head(COST, *UNSURE))
    unsure = {name: (decoders[name], beam) for name, (beam, _) in DECODERS.items()}
    unsure["beam, language model, two hot words"] = (informed, HOT)
    for name, given in unsure.items():
        costs = [cost_ms(*given, make(engine)) for make in UNSURE.values()]
        print(row(name, *(f"{cost:.2f}" for cost in costs)))
    print("\nAn hour of them, one after the other:\n")
    print(head("decoder", COST, "memory grows by at most"))
    everything = [log_probs for part in emissions.values() for log_probs in part]
    for name, (beam, _) in DECODERS.items():
        hour_ms, grown = an_hour(decoders[name], beam, everything)
        print(row(name, f"{hour_ms:.2f}", f"{grown / 2**20:.0f} MiB"))


def measure(
    decoders: Mapping[str, Decoders],
    sets: Mapping[str, Sequence[Clip]],
    emissions: Mapping[str, Sequence[Emissions]],
) -> dict[str, Measured]:
    """Decode all clips with each decoder, RUNS times in turn."""
    measured = {name: Measured() for name in DECODERS}
    for run, (name, (beam, _)) in itertools.product(range(RUNS), DECODERS.items()):
        one = measured[name]
        started = time.process_time()
        decoded = {
            part: [decode(decoders[name], beam, log_probs) for log_probs in emissions[part]]
            for part in sets
        }
        one.times_s.append(time.process_time() - started)
        if run:
            continue
        for part, clips in sets.items():
            for clip, transcription in zip(clips, decoded[part], strict=True):
                text = transcription.text.lower()
                one.errors[part] += word_errors(clip.text, text)
                confidences = [word.confidence for word in transcription.words]
                one.words += zip(confidences, right_words(clip.text, text), strict=True)
    return measured


def white_noise(engine: Engine) -> Emissions:
    """What the network makes of a minute of it."""
    samples = np.random.default_rng(0).normal(0, 0.1, UNSURE_S * SAMPLE_RATE_HZ)
    parts = np.split(samples.astype(np.float32), UNSURE_S // 20)
    return np.concatenate([engine.forward([part])[0] for part in parts])


def flat(engine: Engine) -> Emissions:
    """A minute in which all symbols are nearly alike."""
    symbols = len(engine.checkpoint.vocabulary)
    logits = np.random.default_rng(0).normal(0, 0.1, (round(UNSURE_S / FRAME_S), symbols))
    return (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)


UNSURE = {"white noise": white_noise, "flat emissions": flat}


def cost_ms(decoders: Decoders, beam: BeamSettings | None, log_probs: Emissions) -> float:
    """Milliseconds of CPU per second of audio, the median of RUNS."""
    times_s = []
    for _ in range(RUNS):
        started = time.process_time()
        decode(decoders, beam, log_probs)
        times_s.append(time.process_time() - started)
    return 1000 * statistics.median(times_s) / UNSURE_S


def an_hour(
    decoders: Decoders, beam: BeamSettings | None, emissions: Sequence[Emissions]
) -> tuple[float, int]:
    """Milliseconds of CPU per second of audio, and the maximum growth of the process in bytes."""
    process = psutil.Process()
    before = peak = process.memory_info().rss
    decoder = decoders.decoder(None, beam)
    started = time.process_time()
    frames = 0
    for log_probs in itertools.cycle(emissions):
        decoder.push(log_probs)
        frames += len(log_probs)
        peak = max(peak, process.memory_info().rss)
        if frames >= HOUR_FRAMES:
            break
    decoder.finish(frames * FRAME_S)
    peak = max(peak, process.memory_info().rss)
    return 1000 * (time.process_time() - started) / (frames * FRAME_S), peak - before


def decode(decoders: Decoders, beam: BeamSettings | None, log_probs: Emissions) -> Transcription:
    """One clip's transcript."""
    decoder = decoders.decoder(None, beam)
    decoder.push(log_probs)
    return decoder.finish(len(log_probs))


def reliability_table(measured: dict[str, Measured]) -> str:
    """For each tenth of [0, 1]: words, their mean confidence, and the share of right ones."""
    bins = [reliability(one.words) for one in measured.values()]
    rows = []
    for index in range(BINS):
        cells = [
            "" if part is None else f"{part.words}, {part.mean_confidence:.2f}, {part.right:.2f}"
            for part in (column[index] for column in bins)
        ]
        rows.append([f"{index / BINS:.1f} to {(index + 1) / BINS:.1f}", *cells])
    return table(["confidence", *(f"{name}: words, mean, right" for name in measured)], rows)


if __name__ == "__main__":
    main()
