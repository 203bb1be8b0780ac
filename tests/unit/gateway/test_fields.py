from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from asr_client import ServerInfo
from asr_gateway.errors import ApiError
from asr_gateway.openai import languages
from asr_gateway.openai.fields import Asked, check
from tests.support.gateway.running import RunningGateway


def asked(
    *fields: tuple[str, str],
    decoder: str = "auto",
    own: str = "en-US",
    served: ServerInfo | None = None,
) -> Asked:
    given = [("model", "whisper-1"), *fields]
    return check(given, own_language=own, decoder=decoder, served=served)


def info(**fields: Any) -> ServerInfo:
    """A server that says little of itself."""
    empty = dict.fromkeys(field.name for field in dataclasses.fields(ServerInfo))
    known = {"fingerprint": "f", "languages": (), "decoders": ("greedy", "beam")}
    return ServerInfo(**{**empty, **known, **fields})


OLD = info(fingerprint=None, decoders=())
MODEL = info(language_model="four.arpa", languages=("eng", "deu"))


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


@pytest.mark.parametrize(
    ("decoder", "served", "fields", "chosen"),
    [
        ("auto", MODEL, [], "beam"),
        ("auto", MODEL, [("language", "en")], "beam"),
        # The language model is of the default language.
        ("auto", MODEL, [("language", "de")], "greedy"),
        ("auto", MODEL, [("language", "de"), ("keywords[]", "klubs")], "beam"),
        ("greedy", MODEL, [], "greedy"),
        ("auto", info(), [], "greedy"),
        ("auto", OLD, [], "greedy"),
        ("auto", OLD, [("keywords[]", "clubs")], "beam"),
    ],
)
def test_auto_is_the_beam_where_there_is_a_language_model(
    decoder: str, served: ServerInfo, fields: list[tuple[str, str]], chosen: str
):
    assert asked(*fields, decoder=decoder, served=served).options.decoder == chosen


def test_keywords_need_a_server_with_the_beam():
    with pytest.raises(ApiError) as refused:
        asked(("keywords[]", "clubs"), served=info(decoders=("greedy",)))
    assert refused.value.param == "keywords"


@pytest.mark.parametrize(
    ("value", "own", "adapters", "adapter", "name"),
    [
        (None, "en-US", ("eng", "deu"), None, "english"),
        ("en", "en-US", ("eng", "deu"), None, "english"),
        ("de", "en-US", ("eng", "deu"), "deu", "german"),
        # The gateway names the language of a default that has a name of its own.
        (None, "ur", ("urd-script_arabic", "deu"), None, "urdu"),
        ("ur", "ur", ("urd-script_arabic", "deu"), None, "urdu"),
        ("urd-script_arabic", "ur", ("urd-script_arabic", "deu"), None, "urd-script_arabic"),
        # A default that is another language than --language says is not taken for it.
        (None, "en-US", ("fra", "eng"), None, "french"),
        ("en", "en-US", ("fra", "eng"), "eng", "english"),
        ("en-US", "en-US", ("fra", "eng"), "eng", "en-us"),
        ("fr", "en-US", ("fra", "eng"), None, "french"),
    ],
)
def test_languages_are_those_of_the_server(
    value: str | None, own: str, adapters: tuple[str, ...], adapter: str | None, name: str
):
    fields = [] if value is None else [("language", value)]
    request = asked(*fields, own=own, served=info(languages=adapters))
    assert (request.language.adapter, request.language.name) == (adapter, name)


@pytest.mark.parametrize(
    ("adapters", "words"),
    [((), "no language adapters"), (("eng", "fra"), "eng, fra"), (("eng",) * 30, "and 10 more")],
)
def test_a_language_that_is_not_there_is_refused_with_the_list(
    adapters: tuple[str, ...], words: str
):
    with pytest.raises(ApiError) as refused:
        asked(("language", "de"), served=info(languages=adapters))
    assert (refused.value.param, refused.value.code) == ("language", "unknown_language")
    assert words in refused.value.message


def test_an_older_server_judges_languages_itself():
    assert asked(("language", "de"), served=OLD).options.language == "deu"


def test_a_default_of_another_language_is_reported():
    assert languages.doubts("en-US", ("eng", "fra")) == []
    assert languages.doubts("en-US", ()) == []
    assert languages.doubts("ur", ("urd-script_arabic", "eng")) == []
    [line] = languages.doubts("en-US", ("fra", "eng"))
    assert "asr-server's default is 'fra'" in line


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
