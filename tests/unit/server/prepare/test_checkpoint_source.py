"""Checkpoints of the hub: fetched once, served from the cache, or refused in a line."""

from __future__ import annotations

import json
import os
import re
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from huggingface_hub import errors

from asr_backend.server import cli
from asr_backend.server.errors import StartError
from asr_backend.server.settings import Settings
from tests.support.commands import FREE, copy_of_demo, refusal

pytestmark = pytest.mark.usefixtures("starts_nothing")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.LocalEntryNotFoundError("x"), "the hub cannot be reached"),
        (OSError("disk full\nmore"), "disk full"),
    ],
)
def test_a_hub_checkpoint_that_does_not_come(capsys, monkeypatch, error, words):
    def fail(*args, local_files_only, **kwargs):
        raise errors.LocalEntryNotFoundError("x") if local_files_only else error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    assert words in refusal(capsys, "--model", "someone/something")


def test_ctrl_c_while_it_fetches_ends_it_without_a_word(capsys, monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("huggingface_hub.snapshot_download", interrupt)
    assert cli.main([*FREE, "--model", "someone/something"]) == 130
    assert capsys.readouterr() == ("", "")


def test_a_hub_checkpoint_is_fetched_once_without_pickles(monkeypatch, tmp_path):
    folder = copy_of_demo(tmp_path / "0123abc")
    asked = []

    def download(name, **options):
        asked.append((name, options))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    source = cli.locate(Settings(model="someone/something", revision="v1"), fetch=True)
    assert (source.path, source.id, source.revision) == (folder, "someone/something", "0123abc")
    ((name, options),) = asked
    assert name == "someone/something"
    assert options["revision"] == "v1"
    assert not options["local_files_only"]
    assert options["allow_patterns"] == ["model*.safetensors", "*.json", "language_model/*"]


def test_a_hub_checkpoint_with_pickled_weights_alone(capsys, monkeypatch, tmp_path):
    folder = copy_of_demo(tmp_path / "0123abc")
    (folder / "model.safetensors").unlink()  # the pickles beside it are not fetched
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **options: str(folder))
    line = refusal(capsys, "--model", "someone/something")
    assert "someone/something: has no safetensors on the hub" in line
    assert "asr-server convert" in line


def filled_cache(root: Path) -> Path:
    """A Hugging Face cache with the demo as someone/something; the folder of its files."""
    cached = root / "models--someone--something"
    folder = copy_of_demo(cached / "snapshots" / "0123abc")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0123abc")
    return folder


def test_a_filled_cache_serves_without_the_hub(monkeypatch, tmp_path):
    folder = filled_cache(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    source = cli.locate(Settings(model="someone/something"), fetch=True)
    assert (source.path, source.revision) == (folder, "0123abc")
    with pytest.raises(StartError, match="the hub cannot be reached"):
        cli.locate(Settings(model="someone/else"), fetch=True)


LOCATE = """
import sys
from asr_backend.server.prepare.checkpoint_source import locate
from asr_backend.server.settings import Settings
source = locate(Settings(model=sys.argv[1]), fetch=True)
print(source.path, source.id, source.revision)
"""


@pytest.mark.parametrize("hangs_up", [True, False], ids=["hangs up", "refuses"])
def test_a_filled_cache_serves_when_the_network_fails(monkeypatch, tmp_path, hangs_up):
    monkeypatch.undo()
    folder = filled_cache(tmp_path)
    asked = []
    # In processes of their own: the hub's client reads its settings once. Nothing says "offline".
    with socketserver.TCPServer(("127.0.0.1", 0), lambda *call: asked.append(call)) as hub:
        env = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        env |= {
            "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}",
            "HF_HUB_CACHE": str(tmp_path),
        }
        if hangs_up:
            threading.Thread(target=hub.serve_forever, daemon=True).start()
        else:
            hub.server_close()
        try:
            found, missing = (
                subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
                for command in (
                    [sys.executable, "-c", LOCATE, "someone/something"],
                    [sys.executable, "-m", "asr_backend.server.cli", *FREE, "--model=someone/else"],
                )
            )
        finally:
            if hangs_up:
                hub.shutdown()
    assert (found.returncode, found.stdout) == (0, f"{folder} someone/something 0123abc\n")
    assert (missing.returncode, missing.stdout) == (2, "")
    assert re.fullmatch(
        "asr-server: --model someone/else: .*(the hub cannot be reached|disconnected.*)\n",
        missing.stderr,
    )
    assert bool(asked) is hangs_up


def test_print_config_fetches_nothing(capsys, monkeypatch):
    def offline(*args, local_files_only, **kwargs):
        assert local_files_only
        raise errors.LocalEntryNotFoundError("x")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    assert cli.main([*FREE, "--print-config", "--model", "someone/something"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["checkpoint"]["path"] == "to be fetched from the hub"


def test_a_blank_that_the_files_name_twice(capsys, tmp_path):
    """The demo has its blank at id 0, and the letter E at 5."""
    folder = copy_of_demo(tmp_path / "twice")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": 5}))
    source = cli.locate(Settings(model=str(folder)), fetch=True)
    (warning,) = source.warnings
    assert "took 0 as the CTC blank" in warning
    assert cli.locate(Settings(model=str(folder), blank_id=0), fetch=True).warnings == ()
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer |= {"pad_token": "absent"}
    (folder / "special_tokens_map.json").unlink()  # it would win, as in transformers
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    assert "with --blank-id" in refusal(capsys, "--model", str(folder))


def test_the_flag_for_the_blank_reaches_both_models(capsys, tmp_path):
    assert cli.main([*FREE, "--blank-id=3", "--print-config"]) == 0
    shown = json.loads(capsys.readouterr().out)["config.pbtxt"]
    for config in shown.values():
        assert 'key: "blank_id"\n  value {\n    string_value: "3"' in config


def test_a_path_that_is_not_utf_8_is_refused_in_a_line(capsys, tmp_path):
    folder = copy_of_demo(tmp_path / "b\udcff\nb")
    assert "takes paths in UTF-8 only" in refusal(capsys, "--model", str(folder))


def test_a_name_with_a_new_line_is_refused_in_a_line(capsys, tmp_path):
    (tmp_path / "a\nb").mkdir()
    assert r"a\nb: has no config.json" in refusal(capsys, "--model", str(tmp_path / "a\nb"))
