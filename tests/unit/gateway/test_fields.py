from __future__ import annotations

import pytest

from asr_gateway.errors import ApiError
from asr_gateway.openai.fields import Asked, check
from tests.support.gateway.running import RunningGateway


def asked(*fields: tuple[str, str], decoder: str = "auto", own: str = "en-US") -> Asked:
    return check([("model", "whisper-1"), *fields], own_language=own, decoder=decoder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "a style"),
        ("prompt", ""),
        ("include[]", "logprobs"),
        ("chunking_strategy", "auto"),
        ("chunking_strategy[type]", "server_vad"),
        ("known_speaker_names[]", "agent"),
        ("known_speaker_references[]", "data:"),
        ("languages[]", "en"),
        ("temperature", "0.2"),
        ("temperature", "warm"),
        ("temperature", "nan"),
        ("response_format", "diarized_json"),
        ("response_format", "xml"),
        ("response_format", ""),
        ("stream", "perhaps"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "char"),
        ("keywords[]", " "),
        ("language", "qq"),
        ("language", ""),
        ("beam_width", "10"),
        ("model[]", "whisper-1"),
    ],
)
def test_what_cannot_be_done_names_its_field(field: str, value: str):
    with pytest.raises(ApiError) as refused:
        asked((field, value))
    assert refused.value.status == 400
    assert refused.value.param == (field if field == "model[]" else field.partition("[")[0])
    assert refused.value.param in refused.value.message


@pytest.mark.parametrize("format", ["text", "srt", "vtt", "verbose_json"])
def test_a_stream_is_json(format: str):
    with pytest.raises(ApiError) as refused:
        asked(("stream", "true"), ("response_format", format))
    assert refused.value.param == "stream"


def test_a_field_that_was_sent_twice():
    with pytest.raises(ApiError) as refused:
        asked(("language", "en"), ("language", "de"))
    assert refused.value.param == "language"


def test_a_missing_model():
    with pytest.raises(ApiError) as refused:
        check([], own_language="en", decoder="auto")
    assert (refused.value.param, refused.value.code) == ("model", "missing_required_parameter")


def test_the_defaults():
    request = asked(("temperature", "0.0"), ("stream", "false"))
    assert (request.format, request.stream, request.granularities) == ("json", False, ("segment",))
    assert request.options.given == {"timestamps": "none", "decoder": "greedy"}


@pytest.mark.parametrize(
    ("decoder", "keywords", "chosen"),
    [
        ("auto", [], "greedy"),
        ("auto", ["clubs"], "beam"),
        ("beam", [], "beam"),
        ("beam", ["clubs"], "beam"),
        ("greedy", [], "greedy"),
    ],
)
def test_the_decoder(decoder: str, keywords: list[str], chosen: str):
    request = asked(*(("keywords[]", word) for word in keywords), decoder=decoder)
    assert request.options.decoder == chosen
    assert list(request.options.hotwords or ()) == keywords


def test_keywords_need_the_beam():
    with pytest.raises(ApiError) as refused:
        asked(("keywords[]", "clubs"), decoder="greedy")
    assert refused.value.param == "keywords"


@pytest.mark.parametrize(
    ("value", "adapter", "name"),
    [
        (None, None, "english"),
        ("en", None, "english"),
        ("EN", None, "english"),
        ("en-US", None, "english"),
        ("eng", None, "english"),
        ("de", "deu", "german"),
        ("fra", "fra", "french"),
        ("urd-script_arabic", "urd-script_arabic", "urd-script_arabic"),
    ],
)
def test_languages(value: str | None, adapter: str | None, name: str):
    request = asked(*([] if value is None else [("language", value)]))
    assert (request.language.adapter, request.language.name) == (adapter, name)
    assert request.options.language == adapter


def test_a_language_that_the_server_lacks_is_a_400(gateway: RunningGateway):
    answer = gateway.http.post(
        "/v1/audio/transcriptions",
        files={"file": b"OggS"},
        data={"model": "whisper-1", "language": "de"},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "language"
    assert "'deu'" in answer.json()["error"]["message"]
