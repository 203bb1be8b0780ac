from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from asr_backend.audio.format import PcmFormat
from asr_backend.ctc.decoders import BeamSettings
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front import options_json
from asr_backend.front.options import MAX_OPTIONS_BYTES, Options, parse_options

PCM = {"encoding": "pcm_s16le", "sample_rate": 8000, "channels": 2}


def refusal(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(AsrError) as caught:
        parse_options(raw)
    assert caught.value.code is ErrorCode.BAD_OPTIONS
    return caught.value.detail


def test_defaults() -> None:
    options = parse_options(b"{}")
    assert options == Options()
    assert (options.encoding, options.timestamps, options.decoder, options.channel) == (
        "container",
        "word",
        "greedy",
        "mix",
    )
    with pytest.raises(ValidationError):
        options.encoding = "pcm_s16le"  # type: ignore[misc]


def test_every_supported_value() -> None:
    for timestamps in ("none", "word", "char"):
        assert parse_options(json.dumps({"timestamps": timestamps}).encode()).timestamps
    assert parse_options(b'{"channel": 3}').channel == 3
    assert parse_options(b'{"decoder": "greedy", "channel": "mix"}') == Options()
    beam = {"decoder": "beam", "beam_width": 5, "hotwords": ["ace"], "hotword_weight": 2}
    assert parse_options(b'{"language": "deu"}').language == "deu"
    options = parse_options(json.dumps(beam).encode())
    assert (options.beam_width, options.hotwords, options.hotword_weight) == (5, ("ace",), 2)
    options = parse_options(json.dumps(PCM | {"channel": 1}).encode())
    assert (options.sample_rate, options.channels, options.channel) == (8000, 2, 1)


def test_the_format_of_pcm_and_the_settings_of_beam_search() -> None:
    assert parse_options(b"{}").pcm is None
    assert parse_options(b"{}").beam is None
    assert parse_options(json.dumps(PCM).encode()).pcm == PcmFormat(
        encoding="pcm_s16le", sample_rate_hz=8000, channels=2
    )
    assert parse_options(b'{"decoder": "beam"}').beam == BeamSettings()
    beam = {"decoder": "beam", "beam_width": 5, "hotwords": ["ace"], "hotword_weight": 0}
    assert parse_options(json.dumps(beam).encode()).beam == BeamSettings(
        width=5, hotwords=("ace",), hotword_weight=0
    )


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not JSON"),
        (b"hello", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8: byte 0"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[]", "must be a JSON object such as {}, not []"),
        (b"null", "not null"),
        (b"3", "not 3"),
        (b"NaN", "NaN is not a JSON number"),
        (b'{"hotword_weight": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"hotword_weight": 1e999}', "hotword_weight must be a number from 0 to 100"),
        (b'{"channel": 1, "channel": 2}', 'key "channel" stands twice'),
        (b"[" * 50_000, "not JSON"),
        (b'{"channel": ' + b"9" * 5000 + b"}", "not JSON"),
        (b" " * (MAX_OPTIONS_BYTES + 1), f"the limit is {MAX_OPTIONS_BYTES}"),
    ],
)
def test_not_an_object(raw: bytes, says: str) -> None:
    assert says in refusal(raw)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"tiemstamps": "word"}, 'unknown key "tiemstamps"; the keys are encoding, sample_rate'),
        ({"encoding": "wav"}, 'encoding must be "container", "pcm_s16le" or "pcm_f32le"'),
        ({"encoding": None}, "encoding must be"),
        ({"timestamps": "Word"}, 'timestamps must be "none", "word" or "char", not "Word"'),
        ({"timestamps": True}, "timestamps must be"),
        (
            PCM | {"sample_rate": -8000},
            "sample_rate must be an integer from 1000 to 384000 (Hz), not -8000",
        ),
        (PCM | {"sample_rate": 0}, "not 0"),
        (PCM | {"sample_rate": "8000"}, 'not "8000"'),
        (PCM | {"sample_rate": 8000.0}, "not 8000.0"),
        (PCM | {"sample_rate": True}, "not true"),
        (PCM | {"channels": 0}, "channels must be an integer from 1 to 64, not 0"),
        (PCM | {"channel": 2}, "channel is 2, the audio has 2 channels: 0 to 1"),
        ({"channel": -1}, 'channel must be "mix", "separate" or a channel index from 0, not -1'),
        ({"channel": 1.5}, "channel must be"),
        ({"channel": True}, "channel must be"),
        ({"channel": "left"}, "channel must be"),
        ({"sample_rate": 8000}, "sample_rate is for encoding pcm_s16le and pcm_f32le only"),
        ({"channels": 1}, "channels is for encoding"),
        ({"encoding": "pcm_f32le", "channels": 1}, "pcm_f32le requires sample_rate, an integer"),
        ({"encoding": "pcm_f32le", "sample_rate": 8000}, "requires channels, an integer from 1"),
        ({"decoder": "viterbi"}, 'decoder must be "greedy" or "beam"'),
        ({"beam_width": 5}, 'beam_width is for decoder "beam" only'),
        ({"hotwords": ["club"]}, 'hotwords is for decoder "beam" only'),
        ({"decoder": "greedy", "hotword_weight": 5}, 'hotword_weight is for decoder "beam" only'),
        (
            {"decoder": "beam", "hotwords": ["a b"] * 50 + ["c"]},
            "hotwords has 101 words, at most 100 are allowed",
        ),
        (
            {"decoder": "beam", "hotwords": ["a"] * 101},
            "hotwords must be a list of strings that are not empty, at most 100 words in all, each "
            "of at most 200 letters",
        ),
        (
            {"decoder": "beam", "hotwords": ["ace", "of " + "x" * 201]},
            "hotwords has a word of 201 letters, at most 200 are allowed",
        ),
        ({"hotwords": [""]}, "hotwords must be a list"),
        ({"decoder": "beam", "hotwords": ["a", " \t"]}, "hotwords must be a list"),
        ({"beam_width": 0}, "beam_width must be an integer from 1 to 1000, not 0"),
        ({"hotwords": "club"}, "hotwords must be a list of strings"),
        ({"hotwords": [1]}, "hotwords must be a list of strings"),
        ({"hotword_weight": "big"}, "hotword_weight must be a number from 0 to 100"),
        ({"language": 3}, "language must be a string"),
    ],
)
def test_wrong_value_names_key_and_range(value: dict[str, Any], says: str) -> None:
    assert says in refusal(value)


def test_a_long_value_is_not_echoed_in_full() -> None:
    assert len(refusal({"encoding": "x" * 10_000})) < 200
    assert len(refusal({"x" * 10_000: 1})) < 300
    for lone in ({"\ud800": 1}, {"encoding": "\ud800"}, {"hotwords": ["\ud800"]}):
        assert refusal(lone).encode("utf-8")


def test_the_longest_hot_words_are_taken() -> None:
    words = ["x" * 200] * 100
    options = parse_options(json.dumps({"decoder": "beam", "hotwords": words}).encode())
    assert options.hotwords == tuple(words)


class Key(str):
    """A key of OPTIONS that counts how often it is compared with another."""

    comparisons = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Key.comparisons += 1
        return str(self) == str(other)


def test_a_repeated_key_is_found_in_linear_time() -> None:
    keys = [Key(index) for index in range(5_000)]
    Key.comparisons = 0
    with pytest.raises(AsrError, match='key "4999" stands twice'):
        options_json._without_repeats([(key, 0) for key in (*keys, Key(4_999))])
    assert Key.comparisons <= 2 * len(keys)


@pytest.mark.parametrize("items", [[1] * 20_000, [""] * 15_000, [[]] * 15_000])
def test_a_list_that_is_too_long_is_refused_once_and_not_item_by_item(
    items: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = []
    validate = Options.model_validate

    def watched(value: Any) -> Options:
        try:
            return validate(value)
        except ValidationError as error:
            errors.append(error.error_count())
            raise

    monkeypatch.setattr(Options, "model_validate", watched)
    assert "hotwords must be a list" in refusal({"decoder": "beam", "hotwords": items})
    assert errors == [1]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*Options.model_fields, "x"]), inner, max_size=4)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=40)
)
def test_any_bytes_are_options_or_bad_options(raw: bytes) -> None:
    try:
        options = parse_options(raw)
    except AsrError as error:
        assert error.code is ErrorCode.BAD_OPTIONS
        assert str(error).encode("utf-8")
    else:
        assert options.decoder == "beam" or options.hotwords is None
