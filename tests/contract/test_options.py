"""An option is known to the server, to the SDK and to the fake, or to none of them."""

from __future__ import annotations

from typing import get_args

from asr_backend.front.options import Options
from asr_client import Decoder, Encoding, Timestamps, _options
from asr_client.testing._model import RULES


def test_the_sdk_has_the_options_of_the_server() -> None:
    assert set(_options.NAMES) == set(Options.model_fields)


def test_the_fake_checks_the_options_of_the_server() -> None:
    assert set(RULES) == set(Options.model_fields)


def test_the_defaults_are_those_of_the_server() -> None:
    defaults = {key: field.default for key, field in Options.model_fields.items()}
    assert _options.with_defaults({}) == defaults


def test_the_words_of_an_option_are_those_of_the_server() -> None:
    kinds = {"encoding": Encoding, "timestamps": Timestamps, "decoder": Decoder}
    for key, kind in kinds.items():
        assert get_args(kind) == get_args(Options.model_fields[key].annotation)
