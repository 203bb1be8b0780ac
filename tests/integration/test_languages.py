"""Language adapters on the real server, with random weights in the shape of MMS."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import asr_client
from asr_backend.acoustic.engine.loading import load_engine
from asr_backend.checkpoint.description import load_checkpoint
from asr_backend.ctc.greedy import GreedyDecoder
from asr_client import Client
from tests.support import recordings
from tests.support.backend.checkpoints import LANGUAGES, write_language_checkpoint
from tools.local_server import local_server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_checkpoint(tmp_path_factory.mktemp("languages") / "mms")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    flags = (f"--model={folder}", "--precision=fp32", "--max-queue-delay-us=50000")
    with (
        local_server("--frontends=1", *flags) as server,
        Client(server.url, timeout_s=120) as opened,
    ):
        yield opened


def test_languages_side_by_side_are_each_what_they_are_alone(client: Client, folder: Path):
    checkpoint = load_checkpoint(folder)
    engine = load_engine(checkpoint, device="cpu", precision="fp32", threads=1)
    name = min(recordings.texts())
    expected = {}
    for language in LANGUAGES:
        engine.use_language(language)
        decoder = GreedyDecoder(checkpoint.in_language(language))
        decoder.push(engine.forward([recordings.samples(name)])[0])
        expected[language] = decoder.finish(9).text
    assert len(set(expected.values())) == len(LANGUAGES)
    languages = [*LANGUAGES, None] * 4
    with ThreadPoolExecutor(len(languages)) as pool:
        transcripts = pool.map(
            lambda language: client.transcribe(recordings.FOLDER / name, language=language),
            languages,
        )
        for language, transcript in zip(languages, transcripts, strict=True):
            assert transcript.text == expected[language or "eng"]


def test_the_server_lists_its_languages_its_own_first(client: Client):
    assert client.info().languages == ("eng", *sorted(set(LANGUAGES) - {"eng"}))


def test_an_unknown_language_is_answered_with_the_list(client: Client):
    with pytest.raises(asr_client.InvalidOptions) as caught:
        client.transcribe(recordings.FOLDER / min(recordings.texts()), language="tlh")
    assert caught.value.code == "UNKNOWN_LANGUAGE"
    assert "deu, eng, kat" in caught.value.server_message
