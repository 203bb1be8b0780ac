"""Synthesise the demo checkpoint's corpus: one shard of clips for each voice.

    python -m tools.demo_checkpoint.corpus --output CORPUS --voice flite:rms --clips 800
    python -m tools.demo_checkpoint.corpus --output CORPUS --voice piper --clips 2500
        --neural-python PYTHON

Voices: `flite:NAME`, `espeak`, `festival:NAME`, and with `--neural-python`, the interpreter of an
environment that has them, `piper` and `kokoro`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tools.command import make_parser
from tools.demo_checkpoint.grammar import sample_distinct
from tools.demo_checkpoint.pcm import Clip, read_audio, trim, write_shard
from tools.demo_checkpoint.voices import ENGINES, Utterance

WEIGHTS = {"cards": 0.46, "commands": 0.26, "digits": 0.16, "numbers": 0.12}


def _speak_neural(
    engine: str, utterances: list[Utterance], python: Path, seed: int
) -> Iterator[str]:
    jobs = "".join(json.dumps({"text": u.text, "path": str(u.path)}) + "\n" for u in utterances)
    program = Path(__file__).with_name("neural_voices.py")
    command = [str(python), str(program), engine, "--seed", str(seed)]
    done = subprocess.run(command, input=jobs, stdout=subprocess.PIPE, text=True, check=True)
    yield from done.stdout.splitlines()


def synthesise(voice: str, clips: int, seed: int, neural_python: Path | None) -> Iterator[Clip]:
    """Draw texts, speak them, and yield trimmed clips at 16 kHz."""
    rng = Random(f"{voice} {seed}")
    engine, _, name = voice.partition(":")
    drawn = sample_distinct(clips, WEIGHTS, rng)
    with tempfile.TemporaryDirectory() as folder:
        for start in range(0, clips, 50):
            part = drawn[start : start + 50]
            said = [Utterance(t, Path(folder) / f"{i}.wav") for i, (_, t) in enumerate(part)]
            if engine in ENGINES:
                voices = ENGINES[engine](name or engine, said, rng)
            elif neural_python is not None:
                voices = list(_speak_neural(engine, said, neural_python, seed + start))
            else:
                raise SystemExit(f"{voice} needs --neural-python")
            for (group, text), utterance, speaker in zip(part, said, voices, strict=True):
                yield Clip(group, speaker, text, trim(read_audio(utterance.path)))


def main() -> None:
    """Synthesise one voice's shard."""
    parser = make_parser("tools.demo_checkpoint.corpus", __doc__)
    parser.add_argument("--output", type=Path, required=True, help="the corpus folder")
    parser.add_argument("--voice", required=True, help="flite:NAME, espeak, festival:NAME, ...")
    parser.add_argument("--clips", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--neural-python", type=Path, help="interpreter for piper and kokoro")
    arguments = parser.parse_args()
    clips = synthesise(arguments.voice, arguments.clips, arguments.seed, arguments.neural_python)
    name = f"{arguments.voice.replace(':', '-')}-{arguments.seed}"
    seconds = write_shard(arguments.output, name, clips)
    print(f"{name}: {arguments.clips} clips, {seconds:.0f} s")


if __name__ == "__main__":
    main()
