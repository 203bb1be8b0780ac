from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from benchmarks.systems.base import CannotRun, Padding
from benchmarks.systems.offline import Offline, Transcribed, Transcriber


def load(checkpoint: Path, setting: str) -> Transcriber:
    if setting == "broken":
        raise FileNotFoundError(checkpoint)

    def transcribe(wavs: Sequence[bytes]) -> Transcribed:
        if b"poison" in wavs:
            raise MemoryError("too long")
        return Transcribed([f"{setting} {wav.decode()}" for wav in wavs], 16_000, 32_000)

    return transcribe


@pytest.fixture
def program() -> Iterator[Offline]:
    made = Offline("it", load, setting="text", at_once=(1,))
    yield made
    made.stop()


def test_it_answers_counts_its_padding_and_goes_on_after_an_error(program: Offline, tmp_path: Path):
    pid = program.start(tmp_path, tmp_path)
    assert program.call([b"one", b"two"]).texts == ["text one", "text two"]
    with pytest.raises(RuntimeError, match="MemoryError: too long"):
        program.call([b"poison"])
    answer = program.call([b"three"])
    assert answer.took_s is not None
    assert program.padding() == Padding(audio_s=2.0, padded_s=4.0)
    program.stop()
    assert not psutil.pid_exists(pid)


def test_a_program_that_does_not_load_cannot_run(tmp_path: Path):
    broken = Offline("it", load, setting="broken", at_once=(1,))
    with pytest.raises(CannotRun, match="ended while it started"):
        broken.start(tmp_path, tmp_path)
    broken.stop()
