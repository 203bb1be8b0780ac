"""What callers are told of the model: every change that can change an answer changes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import asr_backend
from asr_backend.server.errors import StartError
from asr_backend.server.prepare import checkpoint_source, identity
from asr_backend.server.prepare.devices import Gpus
from asr_backend.server.prepare.identity import Identity, identify
from asr_backend.server.settings import Settings
from tests.support.backend.checkpoints import write_language_checkpoint
from tests.support.commands import copy_of_demo


def identified(settings: Settings, gpus: Gpus | None = None) -> Identity:
    source = checkpoint_source.locate(settings, fetch=False)
    assert source.checkpoint is not None
    return identify(source.checkpoint, source.ngrams, settings, gpus or Gpus())


def fingerprint(settings: Settings, gpus: Gpus | None = None, precision: str = "fp32") -> str:
    return identified(settings, gpus).parameters(precision)["fingerprint"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copy_of_demo(tmp_path / "mine")


def test_the_demo_says_what_it_is() -> None:
    parameters = identified(Settings()).parameters("int8")
    fingerprint = parameters.pop("fingerprint")
    assert len(fingerprint) == 32
    assert parameters == {
        "model_id": "demo",
        "model_revision": asr_backend.__version__,
        "precision": "int8",
        "languages": "",
        "decoders": "greedy,beam",
        "language_model": "bigram.arpa",
    }


def test_languages_begin_with_the_checkpoint_s_own(tmp_path: Path) -> None:
    folder = write_language_checkpoint(tmp_path / "mms", num_hidden_layers=1)
    assert identified(Settings(model=str(folder))).languages == ("eng", "deu", "kat")


def test_without_the_search_there_is_neither_beam_nor_language_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(identity, "why_no_search", lambda ngrams: "not built")
    found = identified(Settings())
    assert (found.decoders, found.language_model) == (("greedy",), "")


def test_equal_folders_are_equal_wherever_they_lie(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copies" / "mine")
    first, second = (
        identified(Settings(model=str(path))) for path in (folder, tmp_path / "copies" / "mine")
    )
    assert first == second
    (folder / "README.md").write_text("Nothing that computes.")
    assert identified(Settings(model=str(folder))) == first


def test_a_folder_s_revision_is_that_of_its_weights(folder: Path) -> None:
    first = identified(Settings(model=str(folder)))
    assert len(first.model_revision) == 12
    change_json(folder / "preprocessor_config.json", do_normalize=False)
    second = identified(Settings(model=str(folder)))
    assert second.model_revision == first.model_revision
    change_weights(folder)
    assert identified(Settings(model=str(folder))).model_revision != first.model_revision


def change_json(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def change_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def reorder_vocabulary(folder: Path) -> None:
    vocabulary = json.loads((folder / "vocab.json").read_text())
    vocabulary["A"], vocabulary["E"] = vocabulary["E"], vocabulary["A"]
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "alphabet.json").unlink()


def change_the_language_model(folder: Path) -> None:
    path = folder / "language_model" / "bigram.arpa"
    path.write_text(path.read_text().replace("-1.", "-2.", 1))


@pytest.mark.parametrize(
    "change",
    [
        change_weights,
        reorder_vocabulary,
        lambda folder: change_json(folder / "preprocessor_config.json", do_normalize=False),
        lambda folder: change_json(folder / "config.json", note="new"),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        change_the_language_model,
        lambda folder: change_json(folder / "language_model" / "attrs.json", alpha=0.123),
        lambda folder: change_json(folder / "language_model" / "attrs.json", beta=0.123),
        lambda folder: (folder / "language_model" / "unigrams.txt").unlink(),
        lambda folder: shutil.rmtree(folder / "language_model"),
    ],
)
def test_a_change_of_the_files_is_another_fingerprint(
    folder: Path, change: Callable[[Path], object]
) -> None:
    settings = Settings(model=str(folder))
    before = fingerprint(settings)
    change(folder)
    assert fingerprint(settings) != before


def test_a_change_of_the_settings_is_another_fingerprint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = str(folder)
    seen = [
        fingerprint(Settings(model=model)),
        fingerprint(Settings(model=model, max_window_s=19)),
        fingerprint(Settings(model=model, compile=True)),
        fingerprint(Settings(model=model), precision="int8"),
        fingerprint(Settings(model=model), Gpus(indices=(0,), names=("H200",))),
    ]
    version = identity._version
    monkeypatch.setattr(identity, "_version", lambda name: version(name) and f"{version(name)}.1")
    seen.append(fingerprint(Settings(model=model)))
    monkeypatch.setattr(identity, "_code", lambda: "other code")
    seen.append(fingerprint(Settings(model=model)))
    assert len(set(seen)) == len(seen)


def test_what_changes_no_answer_changes_no_fingerprint(folder: Path) -> None:
    plain = fingerprint(Settings(model=str(folder)))
    busy = Settings(model=str(folder), instances=2, threads=1, frontends=3, max_audio_s=10)
    assert fingerprint(busy) == plain


def test_every_library_is_known_by_its_name_here() -> None:
    missing = {name for name in identity._LIBRARIES if identity._version(name) is None}
    # One of both packages of KenLM.
    assert missing <= {"kenlm", "ufal.kenlm"}
    assert len(missing) == 1


def test_a_file_that_cannot_be_read_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(model=str(folder))
    source = checkpoint_source.locate(settings, fetch=False)
    assert source.checkpoint is not None

    def refuse(path: Path, *args: object, **more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StartError, match=r"\w+\.json: cannot be read: Permission denied"):
        identify(source.checkpoint, source.ngrams, settings, Gpus())
