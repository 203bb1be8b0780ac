"""A machine without PyAV: plain WAV files and raw PCM are read, all else is refused with a code."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import io, sys, wave
sys.modules["av"] = None
import numpy as np
from pathlib import Path
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.source import count_channels, decode, estimate_duration_s
from asr_backend.errors import AsrError
from asr_backend.front.contract import parse_options

limits = AudioLimits(max_audio_s=60.0, max_audio_bytes=10**7, max_audio_samples=10**7)
spoken = np.arange(-8_000, 8_000, dtype="<i2")
file = io.BytesIO()
with wave.open(file, "wb") as wav:
    wav.setnchannels(1), wav.setsampwidth(2), wav.setframerate(16_000)
    wav.writeframes(spoken.tobytes())
raw = b'{"encoding": "pcm_s16le", "sample_rate": 16000, "channels": 1}'
for data, given in ((file.getvalue(), b"{}"), (spoken.tobytes(), raw)):
    settings = {"options": parse_options(given), "limits": limits}
    samples = np.concatenate(list(decode(data, **settings)))
    assert (samples == spoken / np.float32(32_768)).all()
    assert estimate_duration_s(data, **settings) == 1.0
    assert count_channels(data, **settings) == 1
try:
    list(decode(b"fLaC" + bytes(100), options=parse_options(b"{}"), limits=limits))
except AsrError as error:
    print(error)
"""


def test_what_is_read_without_pyav() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("UNSUPPORTED_FORMAT: this server has no PyAV")
