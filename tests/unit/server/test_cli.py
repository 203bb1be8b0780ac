"""What is wrong before Triton starts: one line on standard error, exit status 2."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import errors
from safetensors.torch import load_file

from asr_backend.checkpoint import demo_checkpoint, load_checkpoint
from asr_backend.convert import convert
from asr_backend.server import cli, supervisor
from asr_backend.server.errors import StartError
from asr_backend.server.settings import Settings

POPEN = subprocess.Popen
FREE = ["--grpc-port=0", "--metrics-port=0", "--health-port=0"]


@pytest.fixture(autouse=True)
def _no_start(monkeypatch):
    def refuse(*args):
        raise AssertionError("something was started")

    monkeypatch.setattr(supervisor.Supervisor, "run", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)


def refusal(capsys, *argv: str) -> str:
    """The one line that the command ends with."""
    assert cli.main([*FREE, *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("asr-server: ")
    assert err.count("\n") == 1
    return err


def copy_of_demo(folder: Path) -> Path:
    return Path(shutil.copytree(demo_checkpoint(), folder))


def test_a_wrong_flag(capsys):
    assert "--colour" in refusal(capsys, "--colour")
    assert "not supported" in refusal(capsys, "--precision", "int4")


def test_a_taken_port(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for use in ("grpc", "metrics", "health", "http"):
            line = refusal(capsys, f"--{use}-port", str(port))
            assert f"--{use}-port {port} on 127.0.0.1: Address already in use" in line
    line = refusal(capsys, "--grpc-port", str(port), "--http-port", str(port))
    assert f"{port}: is --grpc-port already" in line


def test_an_address_of_another_machine(capsys):
    assert "--grpc-port 0 on 192.0.2.1" in refusal(capsys, "--host", "192.0.2.1")
    assert "--host not-a.name.invalid: " in refusal(capsys, "--host", "not-a.name.invalid")


def test_a_missing_folder(capsys, tmp_path):
    assert "no such folder" in refusal(capsys, "--model", str(tmp_path / "none"))


def test_a_revision_of_what_has_none(capsys, tmp_path):
    folder = copy_of_demo(tmp_path / "folder")
    for flags in ([], ["--model", str(folder)]):
        assert "--revision v1: is of a hub checkpoint" in refusal(capsys, "--revision=v1", *flags)


def test_a_folder_that_is_not_a_ctc_checkpoint(capsys, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
    assert "not a CTC checkpoint" in refusal(capsys, "--model", str(tmp_path))


def test_pickled_weights_alone(capsys, tmp_path):
    folder = copy_of_demo(tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "asr-server convert" in refusal(capsys, "--model", str(folder))


def test_no_gpu(capsys, monkeypatch):
    monkeypatch.setattr(cli, "gpu_count", lambda: 0)
    assert "no NVIDIA GPU" in refusal(capsys, "--device", "cuda")


@pytest.mark.parametrize("precision", ["auto", "int8"])
def test_what_a_cpu_does_not_compile(capsys, monkeypatch, precision):
    monkeypatch.setattr(cli, "gpu_count", lambda: 0)
    line = refusal(capsys, "--compile", "--precision", precision)
    assert f"--precision {precision}: a CPU compiles fp32, bf16 and fp16" in line


def test_a_compiler_that_does_not_compile(capsys, monkeypatch, tmp_path):
    broken = tmp_path / "c++"
    broken.write_text(
        "#!/bin/sh\n[ $1 = --version ] && exec echo g++ 12.2.0\necho error: no licence; exit 1\n"
    )
    broken.chmod(0o755)
    monkeypatch.setattr(subprocess, "Popen", POPEN)
    monkeypatch.setenv("CXX", str(broken))
    line = refusal(capsys, "--compile", "--precision=fp32", "--device=cpu")
    assert line.endswith("no working C++ compiler (g++, or what CXX names): error: no licence\n")


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
from asr_backend.server.hub import locate
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


def test_print_config_shows_what_would_run(capsys):
    assert cli.main([*FREE, "--print-config", "--device=cpu", "--max-batch-size", "3"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"]["max_batch_size"] == 3
    assert shown["checkpoint"]["id"] == "demo"
    assert shown["argv"][0].endswith("/bin/tritonserver")
    assert any("asr=RANDOM" in argument for argument in shown["argv"])
    assert "LD_LIBRARY_PATH" in shown["env"]
    assert "max_batch_size: 3" in shown["config.pbtxt"]["wav2vec2"]


def test_no_token_is_ever_shown(capsys, monkeypatch, tmp_path):
    token = tmp_path / "token"
    token.write_text("hush-hush\n")
    token.chmod(0o600)
    flags = [*FREE, "--token-file", str(token), "--host=0.0.0.0"]
    assert cli.main([*flags, "--print-config"]) == 0
    out, err = capsys.readouterr()
    assert any("authorization=TOKEN" in argument for argument in json.loads(out)["argv"])
    assert "hush-hush" not in out + err

    monkeypatch.setattr(supervisor.Supervisor, "run", lambda self: 0)
    assert cli.main(flags) == 0
    assert "plain text" in (err := capsys.readouterr().err)
    assert "hush-hush" not in err


def test_a_token_that_others_can_read(capsys, tmp_path):
    token = tmp_path / "token"
    token.write_text("hush-hush\n")
    token.chmod(0o644)
    for more in ([], ["--print-config"]):
        line = refusal(capsys, "--token-file", str(token), *more)
        assert "open to others (mode 0644)" in line
        assert "hush-hush" not in line


def test_what_a_person_should_know_is_said_before_the_start(capsys, monkeypatch):
    monkeypatch.setattr(supervisor.Supervisor, "run", lambda self: 0)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=64 << 20))
    assert cli.main([*FREE, "--host", "0.0.0.0"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert any("older than 25.07" in line and "0.0.0.0" in line for line in lines)
    assert any("/dev/shm has 64 MiB free" in line for line in lines)
    assert cli.main([*FREE, "--max-audio-bytes", "1000000"]) == 0
    assert "warning" not in capsys.readouterr().err


def test_print_config_fetches_nothing(capsys, monkeypatch):
    def offline(*args, local_files_only, **kwargs):
        assert local_files_only
        raise errors.LocalEntryNotFoundError("x")

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    assert cli.main([*FREE, "--print-config", "--model", "someone/something"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["checkpoint"]["path"] == "to be fetched from the hub"


@pytest.mark.parametrize("flag", ["--print-config", "--help"])
def test_a_reader_that_leaves_early_is_no_fault(monkeypatch, flag):
    monkeypatch.undo()
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "asr_backend.server.cli", flag]
    try:
        ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize("flag", ["--print-config", "--help"])
def test_a_full_disk_is_said_in_a_line(monkeypatch, flag):
    monkeypatch.undo()
    command = [sys.executable, "-m", "asr_backend.server.cli", flag]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ended.returncode == 1
    assert re.fullmatch(
        r"asr-server [\d:]+ standard output: No space left on device\n", ended.stderr
    )


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

    def test_a_process_that_is_killed_is_said(self, capsys, monkeypatch, tmp_path):
        ended = subprocess.CompletedProcess([], -signal.SIGKILL)
        monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: ended)
        assert cli.main(["convert", str(tmp_path), str(tmp_path / "new")]) == 2
        assert capsys.readouterr().err == "asr-server: convert was ended by SIGKILL\n"

    def test_a_folder_without_pickles_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"has no pytorch_model\.bin"):
            convert(tmp_path, tmp_path / "new")
