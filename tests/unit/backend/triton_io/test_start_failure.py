"""The reason that a model could not start, on its way to the last line of asr-server."""

from __future__ import annotations

from pathlib import Path

import pytest

from asr_backend.triton_io.progress import PREFIX_VARIABLE
from asr_backend.triton_io.start_failure import one_line, read_reason, reported
from tests.support.backend.doubles import PbUtils


def test_the_reason_reaches_asr_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prefix = str(tmp_path / "progress-")
    monkeypatch.setenv(PREFIX_VARIABLE, prefix)
    pb_utils = PbUtils()
    assert read_reason(prefix, "wav2vec2") is None
    with pytest.raises(ValueError, match="first"), reported("wav2vec2", pb_utils):
        raise ValueError("first\n  second \udcff")
    assert pb_utils.Logger.errors == ["wav2vec2 cannot start: first second \udcff"]
    assert read_reason(prefix, "wav2vec2") == "first second ?"
    assert read_reason(prefix, "transcribe") is None


def test_without_asr_server_it_is_logged_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PREFIX_VARIABLE, raising=False)
    pb_utils = PbUtils()
    with pytest.raises(KeyError), reported("transcribe", pb_utils):
        raise KeyError
    assert pb_utils.Logger.errors == ["transcribe cannot start: KeyError()"]


def test_a_long_message_is_cut() -> None:
    assert len(one_line(ValueError("x" * 10_000))) == 2000
