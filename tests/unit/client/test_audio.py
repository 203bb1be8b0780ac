from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr_client import _audio
from asr_client._audio import Payload, encode, load, may_block

SMALL_INTEGERS = [np.int8, np.int16, np.uint8, np.uint16]
LARGE_INTEGERS = [np.int32, np.int64, np.uint32, np.uint64]
FLOATS = [np.float16, np.float32, np.float64, np.longdouble]


def samples(payload: Payload) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What the server hears, full scale 1."""
    if payload.encoding == "pcm_s16le":
        return np.frombuffer(payload.data, "<i2") / 32768
    return np.frombuffer(payload.data, "<f4").astype(np.float64)


def file(audio: Any, **form: Any) -> Payload:
    return load(audio, **{"sample_rate": None, "channels": None, "encoding": "container", **form})


@pytest.mark.parametrize("dtype", SMALL_INTEGERS + LARGE_INTEGERS)
def test_integers_are_scaled_by_their_range(dtype: type[np.integer[Any]]) -> None:
    info = np.iinfo(dtype)
    low, high = int(info.min), int(info.max)
    middle = (low + high + 1) // 2
    quarter = middle + (high - middle + 1) // 2
    payload = encode(np.array([low, middle, quarter, high], dtype), sample_rate=8000)
    assert samples(payload) == pytest.approx([-1, 0, 0.5, 1], abs=2 / 2**info.bits + 1e-7)
    assert payload.encoding == ("pcm_s16le" if info.bits <= 16 else "pcm_f32le")
    assert (payload.sample_rate, payload.channels) == (8000, 1)


@pytest.mark.parametrize("dtype", FLOATS)
def test_floats_travel_as_they_are(dtype: type[np.floating[Any]]) -> None:
    payload = encode(np.array([-1.5, 0, 0.25, 1], dtype), sample_rate=16000)
    assert payload.encoding == "pcm_f32le"
    assert samples(payload).tolist() == [-1.5, 0, 0.25, 1]


@given(st.lists(st.integers(-(2**15), 2**15 - 1), max_size=50))
def test_int16_is_sent_bit_for_bit(values: list[int]) -> None:
    payload = encode(np.array(values, np.int16), sample_rate=16000)
    assert payload.data == np.array(values, "<i2").tobytes()


def test_a_double_beyond_float32_is_left_to_the_server() -> None:
    assert np.isinf(samples(encode(np.array([1e300]), sample_rate=16000)))


def test_channels_are_interleaved() -> None:
    stereo = np.array([[1, -1], [2, -2]], np.int16)
    payload = encode(stereo, sample_rate=16000)
    assert payload.channels == 2
    assert np.frombuffer(payload.data, "<i2").tolist() == [1, -1, 2, -2]


def test_layout_and_byte_order_do_not_matter() -> None:
    expected = encode(np.arange(6, dtype="<i2").reshape(3, 2), sample_rate=1)
    assert encode(np.asfortranarray(np.arange(6, dtype=">i2").reshape(3, 2)), sample_rate=1) == (
        expected
    )
    assert encode(np.arange(12, dtype="<i2")[::2] // 2, sample_rate=1).data == expected.data


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.zeros((2, 16000), np.int16), r"\[samples, channels\]"),
        (np.zeros((5, 0), np.int16), "0 channels"),
        (np.zeros((1, 1, 1), np.int16), "3-D"),
        (np.int16(1) * np.ones((), np.int16), "0-D"),
    ],
)
def test_an_array_of_another_shape_is_refused(array: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        encode(np.asarray(array), sample_rate=16000)


@pytest.mark.parametrize("dtype", [bool, complex, object, "U1"])
def test_an_array_without_samples_is_refused(dtype: Any) -> None:
    with pytest.raises(TypeError, match="holds no samples"):
        encode(np.zeros(3, dtype), sample_rate=16000)


def test_a_file_comes_from_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"abc")
    for audio in (
        path,
        str(path),
        b"abc",
        bytearray(b"abc"),
        memoryview(b"abc"),
        io.BytesIO(b"abc"),
    ):
        assert file(audio) == Payload(data=b"abc", encoding="container")
    with path.open("rb") as opened:
        opened.seek(1)
        assert file(opened).data == b"bc"


def test_raw_samples_in_a_file_need_their_form() -> None:
    payload = file(b"ab", encoding="pcm_s16le", sample_rate=np.int64(8000), channels=1)
    assert payload == Payload(data=b"ab", encoding="pcm_s16le", sample_rate=8000, channels=1)
    assert type(payload.sample_rate) is int


@pytest.mark.parametrize(
    ("audio", "form", "kind", "words"),
    [
        (b"a", {"sample_rate": 16000}, ValueError, "carries its own"),
        (b"a", {"channels": 1}, ValueError, "carries its own"),
        (b"a", {"encoding": "pcm_s16le", "sample_rate": 1}, ValueError, "and channels"),
        (b"a", {"encoding": "mp3"}, ValueError, "encoding is 'mp3'"),
        (np.zeros(1), {}, ValueError, "needs sample_rate"),
        (np.zeros(1), {"sample_rate": 0}, ValueError, "sample_rate is 0"),
        (np.zeros(1), {"sample_rate": 16000.0}, TypeError, "integer"),
        (np.zeros(1), {"sample_rate": True}, TypeError, "sample_rate"),
        (np.zeros(1), {"sample_rate": 1, "channels": 1}, ValueError, "dtype and shape"),
        (np.zeros(1), {"sample_rate": 1, "encoding": "pcm_s16le"}, ValueError, "dtype and shape"),
        (io.StringIO("abc"), {}, TypeError, "binary mode"),
        ([0.0, 0.1], {}, TypeError, "not list"),
        (None, {}, TypeError, "not NoneType"),
        ("no such file.wav", {}, FileNotFoundError, "no such file"),
        (".", {}, IsADirectoryError, "directory"),
    ],
)
def test_arguments_that_do_not_fit_are_named(
    audio: Any, form: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        file(audio, **form)


def test_what_cannot_fit_into_a_request_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_audio, "MAX_AUDIO_BYTES", 10)
    huge = tmp_path / "huge.wav"
    with huge.open("wb") as sparse:
        sparse.truncate(1 << 40)
    for audio in (huge, b"x" * 11, np.zeros(6, np.int16)):
        form = {"sample_rate": 16000 if isinstance(audio, np.ndarray) else None}
        with pytest.raises(_audio.TooLarge, match="at most 10"):
            file(audio, **form)
        with pytest.raises(_audio.TooLarge, match="at most 9"):
            file(audio, max_bytes=9, **form)
    assert file(b"x" * 10, max_bytes=11).data == b"x" * 10


def test_only_small_audio_in_memory_is_prepared_in_the_event_loop() -> None:
    small, large = b"x", bytes(_audio.SMALL_BYTES + 1)
    assert not any(map(may_block, (small, bytearray(small), memoryview(small), np.zeros(3))))
    assert all(map(may_block, ("path", Path("path"), io.BytesIO(), large, memoryview(large))))
    assert may_block(np.zeros(_audio.SMALL_BYTES))
