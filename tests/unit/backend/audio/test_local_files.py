"""No other file that a file names is opened."""

from __future__ import annotations

import io
import os
from pathlib import Path

import av
import numpy as np
import pytest

from asr_backend.audio import containers
from asr_backend.errors import ErrorCode
from tests.support.backend.decoded import refusal
from tests.support.backend.files import encode, mov_with_samples_elsewhere, s16, tone, wav


def naming_local_files(secret: str) -> dict[str, bytes]:
    return {
        "ffconcat": f"ffconcat version 1.0\nfile {secret}\n".encode(),
        "ffconcat_unsafe": f"ffconcat version 1.0\nfile '{os.path.abspath(secret)}'\n".encode(),
        "m3u8": (
            "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n"
            f"{secret}\n#EXT-X-ENDLIST\n"
        ).encode(),
        "sdp": (
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
            f"a=control:file:{secret}\nm=audio 5004 RTP/AVP 0\n"
        ).encode(),
        "dash": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period>'
            '<AdaptationSet mimeType="audio/wav"><Representation id="0" bandwidth="1">'
            f"<BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>"
        ).encode(),
        "ffmetadata": b";FFMETADATA1\ntitle=x\n",
        "image": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "text": b"this is a text file, named .wav by somebody\n" * 40,
        "random": np.random.default_rng(5).bytes(5_000),
        "zeros": bytes(5_000),
    }


@pytest.mark.parametrize("kind", naming_local_files("secret.wav"))
def test_other_files_are_not_read(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret.wav").write_bytes(wav(s16(tone(1, 16_000)).tobytes()))
    monkeypatch.chdir(tmp_path)
    error = refusal(naming_local_files("secret.wav")[kind])
    assert error.code is ErrorCode.UNSUPPORTED_FORMAT
    # By default libav reports on stderr.
    assert capfd.readouterr() == ("", "")


def test_a_mov_whose_samples_lie_in_another_file_reads_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    movie = encode(s16(tone(1, 16_000)), container="mov", codec="pcm_s16le", rate_hz=16_000)
    (tmp_path / "secret.mov").write_bytes(movie)
    monkeypatch.chdir(tmp_path)
    data = mov_with_samples_elsewhere(movie, "secret.mov")
    with av.open(io.BytesIO(data), container_options={"enable_drefs": "1"}) as careless:
        assert any(frame.to_ndarray().any() for frame in careless.decode(audio=0))
    assert refusal(data).code is ErrorCode.EMPTY_AUDIO
    # Without the option, the second guard still holds.
    monkeypatch.setitem(containers._OPEN_OPTIONS, "enable_drefs", "1")
    monkeypatch.setitem(containers._OPEN_OPTIONS, "protocol_whitelist", "file")
    assert str(refusal(data)) == "UNSUPPORTED_FORMAT: the file refers to another file"
