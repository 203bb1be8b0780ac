"""The supervised process, with a shell in place of tritonserver."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from asr_backend.server.prepare.run_directory import RunDirectory
from asr_backend.server.supervise.process import OF_NO_GPU, TritonProcess

IMPATIENT = """
import sys
from asr_backend.server import cli
from asr_backend.server.supervise import supervisor
supervisor._CRASH_S = 0.1
sys.exit(cli.main())
"""
STUB = "triton_python_backend_stub"
# More than a pipe holds: it blocks if it is not read.
WORDS = """
head -c 200000 /dev/zero | tr '\\0' '\\n'
echo "I1125 12:00:00 1 model_lifecycle.cc:1] \\"successfully loaded 'wav2vec2'\\""
"""


@pytest.mark.parametrize("is_open", [True, False])
def test_triton_s_log_is_read_though_it_cannot_be_passed_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_open: bool
) -> None:
    with (
        io.TextIOWrapper(open("/dev/full", "wb", buffering=0)) as full,
        RunDirectory(str(tmp_path)) as run,
    ):
        # None is what Python has for a standard error that was closed at the start: `2>&-`.
        monkeypatch.setattr(sys, "stderr", full if is_open else None)
        with TritonProcess(["sh", "-c", WORDS], os.environ, run) as process:
            (listener,) = (one for one in threading.enumerate() if one.name == "triton's output")
            listener.join(timeout=20)
            assert process.loads["wav2vec2"] == 1


def test_a_precision_that_is_too_inexact_is_found_in_the_log(tmp_path: Path) -> None:
    line = "wav2vec2 cannot start: /m: int8 on torch, cpu is 1.00 standard deviations off fp32"
    words = f"echo '[model.py:1] \"{line}; start with --precision bf16\"'"
    with (
        RunDirectory(str(tmp_path)) as run,
        TritonProcess(["sh", "-c", words], os.environ, run) as process,
    ):
        assert process.exacter_precision() == "bf16"


def test_it_outlives_what_a_service_manager_sends_to_all(tmp_path: Path) -> None:
    words = f"kill -TERM $$; kill -HUP $$\n{WORDS}"
    with (
        RunDirectory(str(tmp_path)) as run,
        TritonProcess(["sh", "-c", words], os.environ, run) as process,
    ):
        (listener,) = (one for one in threading.enumerate() if one.name == "triton's output")
        listener.join(timeout=20)
        assert process.loads["wav2vec2"] == 1


def test_a_tritonserver_that_hangs_in_its_crash_ends_the_server(tmp_path: Path) -> None:
    program, stub = tmp_path / "bin/tritonserver", tmp_path / "backends/python" / STUB
    for file in (program, stub):
        file.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'Signal (6) received.'\nexec sleep 600\n")
    program.chmod(0o755)
    stub.write_text(f"libpython3.{sys.version_info.minor}.so")
    command = [sys.executable, "-c", IMPATIENT, f"--triton-root={tmp_path}"]
    ports = ["--grpc-port=0", "--metrics-port=0", "--health-port=0"]
    ended = subprocess.run([*command, *ports], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.endswith("tritonserver crashed and hangs\n")


NO_GPU = """
W1130 15:56:51.718645 9 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory, \
pinned memory pool will not be available: CUDA driver version is insufficient for CUDA runtime \
version"
I1130 15:56:51.718707 9 cuda_memory_manager.cc:117] "CUDA memory pool disabled"
E1130 15:56:51.718775 9 server.cc:241] "CudaDriverHelper has not been initialized."
W1130 15:57:06.520267 9 pinned_memory_manager.cc:170] "failed to allocate pinned system memory: \
no pinned memory pool, falling back to non-pinned system memory"
Error: Failed to initialize NVML
W1130 15:57:06.614170 9 metrics.cc:798] "DCGM unable to start: DCGM initialization error"
"""


@pytest.mark.parametrize("on_cpu", [True, False])
def test_lines_about_no_gpu_are_left_out_on_a_cpu(
    capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path, on_cpu: bool
) -> None:
    log = tmp_path / "log"
    log.write_text(f'first{NO_GPU}E1 server.cc:1] "another error of CUDA"\n')
    hidden = OF_NO_GPU if on_cpu else None
    with (
        RunDirectory(str(tmp_path)) as run,
        TritonProcess(["cat", str(log)], os.environ, run, hidden=hidden),
    ):
        (listener,) = (one for one in threading.enumerate() if one.name == "triton's output")
        listener.join(timeout=20)
    shown = capfdbinary.readouterr().err.decode().splitlines()
    assert (len(shown) == 2) == on_cpu, shown
    assert shown[0] == "first"
    assert "another error of CUDA" in shown[-1]
