"""What mypy tells a user of the package."""

from __future__ import annotations

from pathlib import Path

from mypy import api

HERE = Path(__file__).parent
STRICT = ["--strict", "--config-file=", "--no-error-summary"]

WRONG = """
from asr_client import Client, Transcript
client = Client("localhost:8001")
client.transcribe("a.wav", timestamps="sentence")
client.transcribe(["a.wav"])
transcript: str = client.transcribe("a.wav")
client.transcribe("a.wav").text = "other"
client.transcribe("a.wav", 16000)
"""


def test_a_script_that_uses_everything_passes_strict_mypy() -> None:
    output, errors, status = api.run([*STRICT, str(HERE / "usage.py")])
    assert (output, errors, status) == ("", "", 0)


def test_mistakes_are_found() -> None:
    output, _, status = api.run([*STRICT, "-c", WRONG])
    assert status == 1
    assert [line.split(":")[1] for line in output.splitlines() if ": error:" in line] == [
        "4",
        "5",
        "6",
        "7",
        "8",
    ]
