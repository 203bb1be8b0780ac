"""Loaded by Schemathesis: files that are audio, so that it gets transcripts too."""

from __future__ import annotations

from pathlib import Path

import schemathesis
from hypothesis import strategies as st

RECORDING = Path(__file__).parents[1] / "data" / "cards-001-ten-of-clubs.wav"

schemathesis.openapi.format(
    "binary", st.one_of(st.just(RECORDING.read_bytes()), st.binary(max_size=300))
)
