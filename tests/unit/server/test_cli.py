"""Errors before Triton starts: one line on standard error, exit status 2."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from asr_backend.server import cli
from asr_backend.server.prepare.devices import Gpus
from asr_backend.server.prepare.network import Network
from asr_backend.server.prepare.ports import PortLostError
from asr_backend.server.supervise import supervisor
from asr_backend.server.supervise.process import PrecisionRefusedError
from tests.support import ngrams
from tests.support.commands import FREE, copy_of_demo, refusal

POPEN = subprocess.Popen
pytestmark = pytest.mark.usefixtures("starts_nothing")


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
    assert f"{port}: is the same as --grpc-port" in line


def test_an_address_of_another_machine(capsys):
    assert "--grpc-port 0 on 192.0.2.1" in refusal(capsys, "--host", "192.0.2.1")
    assert "--metrics-port 0 on 192.0.2.1" in refusal(capsys, "--admin-host", "192.0.2.1")
    for flag in ("--host", "--admin-host"):
        assert f"{flag} not-a.name.invalid: " in refusal(capsys, flag, "not-a.name.invalid")


def test_a_lost_port_is_replaced_where_any_was_asked_for(capsys, monkeypatch):
    given = []

    def lose(self):
        given.append(self._ports.grpc)
        if len(given) < 3:
            raise PortLostError("grpc", self._ports.grpc)
        return 0

    monkeypatch.setattr(supervisor.Supervisor, "run", lose)
    assert cli.main(FREE) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "another program took it" in line] == [
        line for line in lines if any(f"--grpc-port {port}: " in line for port in given[:2])
    ]
    assert len(given) == 3


@pytest.mark.parametrize("asked", [True, False])
def test_a_lost_port_that_was_asked_for_is_one_line(capsys, monkeypatch, asked):
    tries = []

    def lose(self):
        tries.append(self._ports.grpc)
        raise PortLostError("grpc", self._ports.grpc)

    monkeypatch.setattr(supervisor.Supervisor, "run", lose)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = [*FREE, "--device=cpu", *([f"--grpc-port={port}"] if asked else [])]
    assert cli.main(flags) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == (
        f"asr-server: --grpc-port {tries[-1]}: another program took it while the models loaded"
    )
    assert len(tries) == (1 if asked else 3)


def parameter(config: str, name: str) -> str:
    return re.search(rf'"{name}"\s+value \{{\s+string_value: "(.*?)"', config)[1]


@pytest.fixture
def too_inexact(monkeypatch):
    """A checkpoint that is exact enough in fp32 alone; returns the configurations of each start."""
    configs = []

    def run(self):
        configs.append(self._configs)
        loaded = parameter(self._configs["wav2vec2"], "precision")
        if exacter := {"int8": "bf16", "bf16": "fp32"}.get(loaded):
            raise PrecisionRefusedError(exacter)
        return 0

    monkeypatch.setattr(supervisor.Supervisor, "run", run)
    measured = Network(precision="int8", measured="measured", folder=Path("/kept"))
    monkeypatch.setattr(cli, "prepare_network", lambda *_: measured)
    return configs


def test_auto_starts_again_in_the_next_more_exact_precision(capsys, too_inexact):
    assert cli.main([*FREE, "--device=cpu"]) == 0
    for model in ("wav2vec2", "transcribe"):
        told = [parameter(configs[model], "precision") for configs in too_inexact]
        assert told == ["int8", "bf16", "fp32"]
    assert len({parameter(configs["transcribe"], "fingerprint") for configs in too_inexact}) == 3
    # What was prepared is of the first precision.
    assert ['"prepared"' in configs["wav2vec2"] for configs in too_inexact] == [True, False, False]
    assert "auto takes fp32, and starts again; --precision fp32" in capsys.readouterr().err


def test_a_precision_that_was_asked_for_is_not_exchanged(capsys, too_inexact):
    assert cli.main([*FREE, "--device=cpu", "--precision=int8"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "asr-server: the log above says why; start with --precision bf16"
    assert len(too_inexact) == 1


def test_a_missing_folder(capsys, tmp_path):
    assert "no such folder" in refusal(capsys, "--model", str(tmp_path / "none"))


def test_a_revision_of_what_has_none(capsys, tmp_path):
    folder = copy_of_demo(tmp_path / "folder")
    for flags in ([], ["--model", str(folder)]):
        assert "--revision v1: only for a hub checkpoint" in refusal(
            capsys, "--revision=v1", *flags
        )


def test_a_folder_that_is_not_a_ctc_checkpoint(capsys, tmp_path):
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"], "model_type": "bert"}')
    assert "not a CTC checkpoint" in refusal(capsys, "--model", str(tmp_path))


def test_pickled_weights_alone(capsys, tmp_path):
    folder = copy_of_demo(tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "asr-server convert" in refusal(capsys, "--model", str(folder))


def test_a_language_model_without_kenlm(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(
        "asr_backend.server.prepare.checkpoint_source.can_use_language_models", lambda: False
    )
    lm = tmp_path / "one.arpa"
    lm.write_text(ngrams.arpa({"ONE": 1.0}, {}))
    assert "pip install './python_backend[beam]'" in refusal(capsys, "--lm", str(lm))


def test_no_gpu(capsys, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", POPEN)
    line = refusal(capsys, "--device", "cuda")
    assert "--device cuda: torch can use no GPU here: " in line


def test_a_gpu_that_torch_cannot_use_is_reported(capsys, monkeypatch):
    monkeypatch.setattr(supervisor.Supervisor, "run", lambda self: 0)
    monkeypatch.setattr(cli, "find_gpus", lambda device, env: Gpus(note="it is too old"))
    assert cli.main(FREE) == 0
    err = capsys.readouterr().err
    assert " on CPU, " in err
    assert "warning: it is too old" in err


def test_what_a_gpu_takes(capsys, monkeypatch):
    gpus = Gpus(indices=(0, 1), names=("A", "B"), precision="bf16")
    monkeypatch.setattr(cli, "find_gpus", lambda device, env: gpus)
    assert "--precision int8 is for the CPU" in refusal(capsys, "--precision", "int8")
    assert cli.main([*FREE, "--print-config"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["gpus"] == {
        "indices": [0, 1],
        "names": ["A", "B"],
        "precision": "bf16",
        "note": "",
    }
    assert "kind: KIND_GPU" in shown["config.pbtxt"]["wav2vec2"]


def test_a_cpu_does_not_compile(capsys):
    line = refusal(capsys, "--compile", "--precision=fp32", "--device=cpu")
    assert line.endswith(
        "--compile is for a GPU; on a CPU compiled layers are no faster, leave --compile out\n"
    )


def test_a_gpu_that_torch_cannot_compile_for(capsys, monkeypatch):
    monkeypatch.setattr(cli, "find_gpus", lambda device, env: Gpus(indices=(0,), names=("A",)))
    monkeypatch.setattr(subprocess, "Popen", POPEN)
    # Also on a machine that has a GPU, none is left to compile for.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    line = refusal(capsys, "--compile")
    assert "--compile: torch cannot compile for this GPU: " in line
    assert "CUDA" in line.partition("GPU: ")[2]


def test_print_config_shows_what_would_run(capsys):
    assert cli.main([*FREE, "--print-config", "--device=cpu", "--max-batch-size", "3"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["settings"]["max_batch_size"] == 3
    assert shown["checkpoint"]["id"] == "demo"
    assert shown["argv"][0].endswith("/bin/tritonserver")
    assert any("opens it=RANDOM" in argument for argument in shown["argv"])
    assert "LD_LIBRARY_PATH" in shown["env"]
    assert "max_batch_size: 3" in shown["config.pbtxt"]["wav2vec2"]


def test_what_auto_takes_is_said(capsys, monkeypatch):
    network = Network(
        precision="bf16", measured="measured so", folder=Path("/kept/ü"), notes=("warning: a note",)
    )
    monkeypatch.setattr(cli, "prepare_network", lambda *_: network)
    assert cli.main([*FREE, "--print-config", "--device=cpu"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["precision"] == {
        "chosen": "bf16",
        "measured": "measured so",
        "notes": ["warning: a note"],
    }
    for model in ("wav2vec2", "transcribe"):
        assert parameter(shown["config.pbtxt"][model], "precision") == "bf16"
    assert parameter(shown["config.pbtxt"]["wav2vec2"], "prepared") == "file:///kept/%C3%BC"
    monkeypatch.setattr(supervisor.Supervisor, "run", lambda self: 0)
    assert cli.main([*FREE, "--device=cpu"]) == 0
    err = capsys.readouterr().err
    assert "auto takes bf16, measured so" in err
    assert "warning: a note" in err


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


def test_warnings_come_before_the_start(capsys, monkeypatch):
    monkeypatch.setattr(supervisor.Supervisor, "run", lambda self: 0)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=64 << 20))
    assert cli.main([*FREE, "--host", "0.0.0.0"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert any("older than 25.07" in line and "0.0.0.0" in line for line in lines)
    assert any("/dev/shm has 64 MiB free" in line for line in lines)
    assert cli.main([*FREE, "--max-audio-bytes", "1000000"]) == 0
    assert "warning" not in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--print-config", "--help"])
def test_a_reader_that_leaves_early_is_no_fault(monkeypatch, flag):
    monkeypatch.undo()
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "asr_backend.server.cli", "--precision=fp32", flag]
    try:
        ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=60)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize("flag", ["--print-config", "--help"])
def test_a_full_disk_is_reported_in_a_line(monkeypatch, flag):
    monkeypatch.undo()
    command = [sys.executable, "-m", "asr_backend.server.cli", "--precision=fp32", flag]
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ended.returncode == 1
    assert re.fullmatch(
        r"asr-server [\d:]+ standard output: No space left on device\n", ended.stderr
    )


def test_print_config_refuses_what_the_start_would_refuse(capsys, tmp_path):
    file = tmp_path / "file"
    file.touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for flags, words in [
            (("--run-dir", str(file)), "Not a directory"),
            (("--run-dir", str(tmp_path / "ü")), "letters of ASCII"),
            (("--grpc-port", str(port)), str(port)),
        ]:
            assert words in refusal(capsys, "--print-config", *flags)
            assert words in refusal(capsys, *flags)


def test_print_config_shows_what_0_stands_for(capsys):
    assert cli.main([*FREE, "--print-config"]) == 0
    shown = json.loads(capsys.readouterr().out)["settings"]
    assert shown["frontends"] >= 2
    assert shown["threads"] >= 1
