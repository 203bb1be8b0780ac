"""A machine without PyAV: plain WAV files and raw PCM are read, all else is refused with a code."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import io, sys, wave
sys.modules["av"] = None
import numpy as np
from asr_backend.audio.format import PcmFormat
from asr_backend.audio.limits import AudioLimits
from asr_backend.audio.source import Source
from asr_backend.errors import AsrError

LIMITS = AudioLimits(max_audio_s=60.0, max_audio_bytes=10**7)
spoken = np.arange(-8_000, 8_000, dtype="<i2")
file = io.BytesIO()
with wave.open(file, "wb") as wav:
    wav.setnchannels(1), wav.setsampwidth(2), wav.setframerate(16_000)
    wav.writeframes(spoken.tobytes())
raw = PcmFormat(encoding="pcm_s16le", sample_rate_hz=16_000, channels=1)
for data, pcm in ((file.getvalue(), None), (spoken.tobytes(), raw)):
    source = Source(data, pcm=pcm, max_bytes=10**7)
    assert (source.duration_s, source.channels) == (1.0, 1)
    samples = np.concatenate(list(source.blocks("mix", LIMITS)))
    assert (samples == spoken / np.float32(32_768)).all()
try:
    list(Source(b"fLaC" + bytes(100), max_bytes=10**7).blocks("mix", LIMITS))
except AsrError as error:
    print(error)
"""


def test_what_is_read_without_pyav() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("UNSUPPORTED_FORMAT: this server has no PyAV")
