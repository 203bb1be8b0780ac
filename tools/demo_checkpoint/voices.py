"""Synthetic voices of the demo corpus: flite, espeak-ng and festival, run as commands.

An utterance is spoken into a WAV file. Each engine varies rate, pitch and, where it has them,
accents and voice variants, drawn from the random generator that the caller hands in. The neural
voices are in `neural_voices.py`, which runs in an environment of its own.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

ESPEAK_ACCENTS = (
    "en-us",
    "en-us",
    "en-us",
    "en-gb",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
)
ESPEAK_VARIANTS = (
    *(f"m{i}" for i in range(1, 9)),
    *(f"f{i}" for i in range(1, 6)),
    *("klatt", "klatt2", "klatt3", "klatt4", "klatt5", "klatt6"),
    *("Alex", "Andy", "Annie", "David", "Gene", "Lee", "Linda", "Michael", "Mike", "Mr", "Zac"),
    *("steph", "anika", "grandma", "grandpa", "norbert", "sandro", "shelby", "travis", "victor"),
)


@dataclass(frozen=True)
class Utterance:
    """One text to be spoken."""

    text: str
    """Lower-case words."""
    path: Path
    """The WAV file to write."""


def speak_flite(voice: str, utterances: Sequence[Utterance], rng: Random) -> list[str]:
    """Speak with a flite voice; returns the voice name of each utterance."""
    for utterance in utterances:
        command = ["flite", "-voice", voice, "--setf", f"duration_stretch={rng.uniform(0.8, 1.3)}"]
        if voice.startswith("kal"):
            command += ["--setf", f"int_f0_target_mean={rng.uniform(80, 140)}"]
        text = _punctuated(utterance.text, rng)
        subprocess.run([*command, "-t", text, "-o", str(utterance.path)], check=True)
    return [f"flite-{voice}"] * len(utterances)


def speak_espeak(voice: str, utterances: Sequence[Utterance], rng: Random) -> list[str]:
    """Speak with espeak-ng, a new accent, variant, pitch and rate for each utterance."""
    names = []
    for utterance in utterances:
        name = f"{rng.choice(ESPEAK_ACCENTS)}+{rng.choice(ESPEAK_VARIANTS)}"
        options = {"-v": name, "-s": rng.randint(110, 200), "-p": rng.randint(15, 75)}
        options["-g"] = rng.choice((0, 0, 1, 3))
        arguments = [str(part) for pair in options.items() for part in pair]
        text = _punctuated(utterance.text, rng)
        subprocess.run(
            ["espeak-ng", *arguments, "-w", str(utterance.path), text], check=True, stderr=-3
        )
        names.append(f"{voice}-{name}")
    return names


def speak_festival(voice: str, utterances: Sequence[Utterance], rng: Random) -> list[str]:
    """Speak with a festival voice, one process for each rate."""
    for start in range(0, len(utterances), 25):
        chunk = utterances[start : start + 25]
        lines = [f"(voice_{voice})", f"(Parameter.set 'Duration_Stretch {rng.uniform(0.85, 1.3)})"]
        lines += [
            f'(utt.save.wave (utt.synth (Utterance Text "{_punctuated(u.text, rng)}"))'
            f' "{u.path}" \'riff)'
            for u in chunk
        ]
        with tempfile.NamedTemporaryFile("w", suffix=".scm") as script:
            script.write("\n".join(lines))
            script.flush()
            subprocess.run(["festival", "-b", script.name], check=True, stdout=-3, stderr=-3)
    return [f"festival-{voice}"] * len(utterances)


ENGINES: dict[str, Callable[[str, Sequence[Utterance], Random], list[str]]] = {
    "flite": speak_flite,
    "espeak": speak_espeak,
    "festival": speak_festival,
}


def _punctuated(text: str, rng: Random) -> str:
    """Put a comma after a suit or a digit at times, for pauses and list intonation."""
    words = text.split()
    spoken = []
    for index, word in enumerate(words):
        last = index == len(words) - 1
        pause = not last and words[index + 1] != "of" and rng.random() < 0.25
        spoken.append(word + ("," if pause else ""))
    return " ".join(spoken) + rng.choice((".", ".", "", "?"))
