"""Language adapters, held to Hugging Face's own."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2ForCTC

from asr_backend.acoustic.engine.loading import load_engine
from asr_backend.acoustic.model import Wav2Vec2Model
from asr_backend.audio.limits import AudioLimits
from asr_backend.checkpoint.description import load_checkpoint
from asr_backend.checkpoint.files import CheckpointError
from asr_backend.ctc.decoders import BeamSettings, Decoders
from asr_backend.errors import AsrError, ErrorCode
from asr_backend.front.acoustic_client import BlsAcousticClient
from asr_backend.front.options import parse_options
from asr_backend.front.recognition import Job, Recognizer
from asr_backend.front.window_budget import WindowBudget
from asr_backend.front.work_limits import WorkLimits
from asr_backend.triton_io.metrics import Metrics
from tests.support import recordings
from tests.support.backend.checkpoints import LANGUAGES, SYMBOLS, write_language_checkpoint
from tests.support.backend.doubles import PbUtils, Request
from tests.support.backend.emissions import emissions
from tests.unit.backend.acoustic.test_model import FakeEngine

WINDOW = np.random.default_rng(0).uniform(-0.5, 0.5, 4000).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_checkpoint(tmp_path_factory.mktemp("languages") / "mms")


def test_what_the_folder_says(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    assert checkpoint.language == "eng"
    assert set(checkpoint.languages) == set(LANGUAGES)
    for language, letters in LANGUAGES.items():
        spoken = checkpoint.in_language(language)
        assert spoken.vocabulary == (*SYMBOLS[:5], *letters)
        assert (spoken.language, spoken.blank_id, spoken.word_delimiter_id) == (language, 0, 4)
    assert checkpoint.in_language(None) is checkpoint
    with pytest.raises(AsrError, match=r"'tlh' was .* has 3 language adapters: deu, eng, kat") as e:
        checkpoint.in_language("tlh")
    assert e.value.code is ErrorCode.UNKNOWN_LANGUAGE


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 1.5), ("int8", 1.5)])
def test_each_language_is_hugging_face_s_and_the_first_comes_back(
    folder: Path, precision: str, tolerance: float
) -> None:
    checkpoint = load_checkpoint(folder)
    engine = load_engine(checkpoint, device="cpu", precision=precision, threads=1)
    model = Wav2Vec2ForCTC.from_pretrained(folder, local_files_only=True).eval()
    normal = (WINDOW - WINDOW.mean()) / np.sqrt(WINDOW.var() + 1e-7)

    def reference() -> np.ndarray:
        with torch.inference_mode():
            logits = model(torch.from_numpy(normal)[None]).logits[0]
        return torch.log_softmax(logits, dim=-1).numpy()

    expected = {"eng": reference()}
    for language in ("deu", "kat"):
        model.load_adapter(language, local_files_only=True)
        expected[language] = reference()
        assert expected[language].shape[1] == 5 + len(LANGUAGES[language])
    for language in ("eng", "deu", "kat", "deu", "eng"):
        engine.use_language(language)
        found = engine.forward([WINDOW, WINDOW[:3000]])[0]
        np.testing.assert_allclose(found, expected[language], atol=tolerance)


def test_requests_of_unlike_languages_never_share_a_forward(folder: Path) -> None:
    pb_utils = PbUtils()
    engine = FakeEngine(load_checkpoint(folder))
    model = Wav2Vec2Model(
        engine=engine,
        pb_utils=pb_utils,
        metrics=Metrics(pb_utils),
        max_window_s=1,
        max_batch_audio_s=20,
    )
    asked = ["eng", "deu", None, "deu", "tlh", "kat", "eng"]
    requests = [
        Request(SAMPLES=WINDOW[None], parameters={} if name is None else {"language": name})
        for name in asked
    ]
    model.execute(requests)
    assert engine.languages == ["eng", "deu", "kat"]
    assert [len(forward) for forward in engine.forwards] == [3, 2, 1]
    message, status = requests[4].failure()
    assert message.startswith("UNKNOWN_LANGUAGE: 'tlh'")
    assert status == "INVALID_ARG"
    assert all(
        request.output("LOG_PROBS").size for request in requests if request is not requests[4]
    )


class Bls(PbUtils):
    """A double of Triton in which `transcribe` calls a `wav2vec2` beside it."""

    TritonModelException = RuntimeError

    def __init__(self, engine: Any) -> None:
        super().__init__()
        self._acoustic = Wav2Vec2Model(
            engine=engine,
            pb_utils=self,
            metrics=Metrics(self),
            max_window_s=20,
            max_batch_audio_s=20,
        )

    def InferenceRequest(self, *, inputs: Any, parameters: Any, **names: Any) -> Any:
        (samples,) = inputs
        asked = Request(SAMPLES=samples.as_numpy(), parameters=parameters)

        async def answer() -> Any:
            self._acoustic.execute([asked])
            assert asked.response is not None
            return SimpleNamespace(has_error=lambda: False, tensors=asked.response.tensors)

        return SimpleNamespace(async_exec=answer)

    @staticmethod
    def get_output_tensor_by_name(response: Any, name: str) -> Any:
        return response.tensors[name]


async def test_a_front_hears_each_language_through_the_acoustic_model(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    engine = load_engine(checkpoint, device="cpu", precision="fp32", threads=1)
    pb_utils = Bls(engine)
    limits = AudioLimits(max_audio_s=60, max_audio_bytes=10**7)
    with ThreadPoolExecutor(1) as decode, ThreadPoolExecutor(1) as search:
        recognizer = Recognizer(
            checkpoint=checkpoint,
            acoustic=BlsAcousticClient(pb_utils, metrics=Metrics(pb_utils), front="front"),
            limits=limits,
            max_window_s=20,
            overlap_s=1,
            budget=WindowBudget(320_000),
            decode_pool=decode,
            decoders=Decoders(checkpoint),
            search_pool=search,
            work_limits=WorkLimits(),
        )

        async def text_in(**options: Any) -> str:
            given = parse_options(json.dumps(options).encode())
            audio = recordings.wav(recordings.pcm(min(recordings.texts())))
            job = Job(
                audio=audio, options=given, is_cancelled=lambda: False, on_length=lambda _: None
            )
            return (await recognizer.recognize(job)).transcription.text

        texts = {language: await text_in(language=language) for language in LANGUAGES}
        assert len(set(texts.values())) == len(LANGUAGES)
        for language, letters in LANGUAGES.items():
            assert texts[language]
            assert set(texts[language]) <= {*letters, " "}
            assert await text_in(language=language, channel="separate") == texts[language]
        assert await text_in() == texts["eng"]
        with pytest.raises(AsrError, match="UNKNOWN_LANGUAGE"):
            await text_in(language="tlh")


def test_words_are_of_the_language_s_letters(folder: Path) -> None:
    checkpoint = load_checkpoint(folder)
    decoders = Decoders(checkpoint)
    for language, word in (("deu", "TÜR"), ("kat", "გზა"), ("eng", "TEN")):
        vocabulary = checkpoint.in_language(language).vocabulary
        for beam in (None, BeamSettings()):
            reader = decoders.decoder(language, beam)
            reader.push(emissions([*word, "<pad>"], vocabulary))
            assert reader.finish(1).text == word
    with pytest.raises(AsrError, match="never writes"):
        decoders.decoder(None, BeamSettings(hotwords=("TUR",)))


def test_an_adapter_that_does_not_fit_is_one_line(folder: Path) -> None:
    path = folder / "adapter.deu.safetensors"
    whole = path.read_bytes()
    weights = load_file(path)
    weights.pop(next(name for name in weights if "adapter_layer" in name))
    try:
        save_file(weights, path)
        with pytest.raises(CheckpointError, match=r"adapter_layer.* is None, not"):
            load_engine(load_checkpoint(folder), device="cpu", precision="fp32", threads=1)
        path.write_bytes(whole[:-1])
        with pytest.raises(CheckpointError, match="cut short"):
            load_checkpoint(folder)
        path.unlink()
        assert set(load_checkpoint(folder).languages) == {"eng", "kat"}
    finally:
        path.write_bytes(whole)


def test_an_adapter_with_weights_that_are_no_numbers_is_refused_when_it_is_read(
    folder: Path,
) -> None:
    path = folder / "adapter.deu.safetensors"
    whole = path.read_bytes()
    weights = load_file(path)
    weights["lm_head.bias"][2] = float("nan")
    try:
        save_file(weights, path)
        engine = load_engine(load_checkpoint(folder), device="cpu", precision="fp32", threads=1)
        with pytest.raises(CheckpointError, match=r"deu.* lm_head\.bias, 1 of 18 are NaN"):
            engine.use_language("deu")
        assert np.isfinite(engine.forward([WINDOW])[0]).all()
        engine.use_language("kat")
        assert np.isfinite(engine.forward([WINDOW])[0]).all()
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.5), ("int8", 0.5)])
def test_the_default_language_s_adapter_is_read_like_all_others(
    folder: Path, tmp_path: Path, precision: str, tolerance: float
) -> None:
    """The main weights are English, whatever tokenizer_config.json names."""
    changed = Path(shutil.copytree(folder, tmp_path / "mms"))
    config = json.loads((changed / "tokenizer_config.json").read_text())
    (changed / "tokenizer_config.json").write_text(json.dumps({**config, "target_lang": "deu"}))
    if precision == "fp32":  # either language's number of outputs
        settings = json.loads((changed / "config.json").read_text())
        (changed / "config.json").write_text(json.dumps({**settings, "vocab_size": 18}))
    checkpoint = load_checkpoint(changed)
    assert checkpoint.language == "deu"
    # No adapter has English, and the weights are no longer known to be.
    assert set(checkpoint.languages) == {"deu", "kat"}
    whole = load_engine(load_checkpoint(folder), device="cpu", precision=precision, threads=1)
    found = load_engine(checkpoint, device="cpu", precision=precision, threads=1)
    whole.use_language("deu")
    expected = whole.forward([WINDOW])[0]
    np.testing.assert_allclose(found.forward([WINDOW])[0], expected, atol=tolerance)
    for language in ("kat", "deu"):
        whole.use_language(language)
        found.use_language(language)
        expected = whole.forward([WINDOW])[0]
        np.testing.assert_allclose(found.forward([WINDOW])[0], expected, atol=tolerance)


def test_a_default_adapter_that_does_not_fit_is_one_line(folder: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(folder, tmp_path / "mms"))
    adapter = load_file(changed / "adapter.deu.safetensors")
    adapter.pop("lm_head.bias")
    save_file(adapter, changed / "adapter.eng.safetensors")
    with pytest.raises(CheckpointError, match=r"eng.*: lm_head\.bias is None, not"):
        load_engine(load_checkpoint(changed), device="cpu", precision="fp32", threads=1)
