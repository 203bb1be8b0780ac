"""`asr-server convert`: pickled weights rewritten, code in them refused."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from asr_backend.checkpoint.convert import convert
from asr_backend.checkpoint.description import demo_checkpoint, load_checkpoint
from asr_backend.ctc.ngram_files import find_ngrams
from asr_backend.server import cli
from tests.support.backend.checkpoints import write_language_checkpoint
from tests.support.commands import copy_of_demo
from tests.support.ngrams import arpa

pytestmark = pytest.mark.usefixtures("starts_nothing")


class TestConvert:
    def test_pickled_weights_become_safetensors(self, capfd, monkeypatch, tmp_path):
        monkeypatch.undo()
        source, target = copy_of_demo(tmp_path / "pickled"), tmp_path / "new"
        weights = load_file(source / "model.safetensors")
        torch.save(weights, source / "pytorch_model.bin")
        (source / "model.safetensors").unlink()
        assert cli.main(["convert", str(source), str(target)]) == 0
        assert load_checkpoint(target).vocabulary == load_checkpoint(demo_checkpoint()).vocabulary
        written = load_file(target / "model.safetensors")
        assert written.keys() == weights.keys()
        assert all(torch.equal(written[name], weights[name]) for name in weights)
        assert not (target / "pytorch_model.bin").exists()

        assert cli.main(["convert", str(source), str(target)]) == 2
        assert capfd.readouterr().err == (
            f"asr-server convert: {target}: exists and is not an empty folder\n"
        )

    def test_a_copy_serves_what_the_original_did(self, capfd, monkeypatch, tmp_path):
        """With languages, a language model, and the tokenizer's settings."""
        monkeypatch.undo()
        original = write_language_checkpoint(tmp_path / "original")
        lm = original / "language_model"
        lm.mkdir()
        (lm / "tiny.arpa").write_text(arpa({"THE": 0.1, "TEA": 0.1}, {}))
        (lm / "unigrams.txt").write_text("THE\nTEA\n")
        (lm / "attrs.json").write_text('{"alpha": 0.7}')
        settings = json.loads((original / "tokenizer_config.json").read_text())
        settings |= {"do_lower_case": True}
        (original / "tokenizer_config.json").write_text(json.dumps(settings))
        pickled = Path(shutil.copytree(original, tmp_path / "pickled"))
        for name, pickle in [
            ("model.safetensors", "pytorch_model.bin"),
            ("adapter.deu.safetensors", "adapter.deu.bin"),
        ]:
            torch.save(load_file(pickled / name), pickled / pickle)
            (pickled / name).unlink()
        (pickled / "optimizer.pt").write_bytes(b"")
        (pickled / ".cache").mkdir()
        (pickled / ".cache" / "download.lock").touch()

        assert cli.main(["convert", str(pickled), str(tmp_path / "copy")]) == 0
        assert capfd.readouterr().out.splitlines()[1:] == [
            "not copied, because the server does not read them: optimizer.pt"
        ]
        first = load_checkpoint(original)
        second = load_checkpoint(tmp_path / "copy", id="original")
        assert set(first.languages) == {"eng", "deu", "kat"}
        assert replace(first, path=Path()) == replace(second, path=Path())
        found = [find_ngrams(one, "") for one in (first, second)]
        assert None not in found
        assert found[0].alpha == found[1].alpha == 0.7
        for file in original.rglob("*.*"):
            copy = tmp_path / "copy" / file.relative_to(original)
            if file.suffix == ".safetensors":
                one, other = load_file(file), load_file(copy)
                assert one.keys() == other.keys()
                assert all(torch.equal(one[name], other[name]) for name in one)
            else:
                assert file.read_bytes() == copy.read_bytes()

    def test_a_pickle_that_holds_code_is_refused(self, tmp_path):
        torch.save({"weight": Path("/")}, tmp_path / "pytorch_model.bin")
        with pytest.raises(ValueError, match=r"not a file of plain tensors: [^\n]*$"):
            convert(tmp_path, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_a_damaged_pickle_is_refused(self, tmp_path):
        (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02.")
        with pytest.raises(ValueError, match=r"not a file of plain tensors: [^\n]*$"):
            convert(tmp_path, tmp_path / "new")

    def test_a_full_disk_is_a_line_and_the_folder_stays_empty(self, tmp_path):
        source, target = tmp_path / "pickled", tmp_path / "new"
        source.mkdir()
        torch.save({"weight": torch.zeros(1 << 20)}, source / "pytorch_model.bin")
        (source / "config.json").write_text("{}")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        try:
            with pytest.raises(ValueError, match=r"new: [^\n]*$"):
                convert(source, target)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert list(target.iterdir()) == []

    def test_a_process_that_is_killed_is_reported(self, capsys, monkeypatch, tmp_path):
        ended = subprocess.CompletedProcess([], -signal.SIGKILL)
        monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: ended)
        assert cli.main(["convert", str(tmp_path), str(tmp_path / "new")]) == 2
        assert capsys.readouterr().err == "asr-server: convert was killed by SIGKILL\n"

    def test_a_folder_without_pickles_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"has no pytorch_model\.bin"):
            convert(tmp_path, tmp_path / "new")
