"""The options are written once; everything that takes them agrees with that."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from asr_client import AsyncClient, Client, Recording, _options
from asr_client.testing import FakeServer
from tests.support.client.driver import Driver

SILENCE = np.zeros(1600, np.int16)
METHODS = [Client.transcribe, AsyncClient.transcribe, Client.transcribe_many]


def test_a_recording_has_every_option_of_the_same_type() -> None:
    kinds = {field.name: str(field.type) for field in fields(Recording)}
    for name, annotation in _options.TranscribeOptions.__annotations__.items():
        kind = annotation.__forward_arg__
        assert kinds.pop(name) == (kind if kind.endswith(" | None") else f"{kind} | None")
    assert set(kinds) == {"audio", "id"}


@pytest.mark.parametrize("method", METHODS)
def test_the_signature_shows_each_option_with_its_default(method: Any) -> None:
    shown = inspect.signature(method).parameters
    assert "options" not in shown
    assert set(_options.NAMES) < set(shown)
    assert all(shown[name].kind is inspect.Parameter.KEYWORD_ONLY for name in _options.NAMES)
    assert (shown["timestamps"].default, shown["timestamps"].annotation) == ("word", "Timestamps")
    assert (shown["language"].default, shown["language"].annotation) == (None, "str | None")


def test_the_help_shows_each_option_with_its_text() -> None:
    text = inspect.getdoc(Client.transcribe) or ""
    assert "    language: For checkpoints with language adapters.\n" in text
    assert "TranscribeOptions" not in text


def test_help_without_sources_names_where_the_options_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def getsource(_: object) -> str:
        raise OSError("could not get source code")

    monkeypatch.setattr(inspect, "getsource", getsource)
    assert "TranscribeOptions" in _options._described.__wrapped__()


def test_an_unknown_option_is_a_type_error_and_nothing_is_sent(
    driver: Driver, server: FakeServer
) -> None:
    client: Any = driver.open(server.url)
    for call in (client.transcribe, client.transcribe_many):
        with pytest.raises(TypeError, match=r"'timestamp'.*timestamps"):
            call(SILENCE, sample_rate=16_000, timestamp="word")
    assert server.requests == ()
