from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from asr_backend.server.errors import StartError
from asr_backend.server.prepare import tritonserver
from asr_backend.server.prepare.credentials import Access
from asr_backend.server.prepare.ports import Ports
from asr_backend.server.settings import Settings

PORTS = Ports(grpc=1, metrics=2, health=3, http=0)
NOBODY = Access()


@pytest.fixture
def no_image(monkeypatch, tmp_path):
    monkeypatch.setattr(tritonserver, "NGC_ROOT", tmp_path / "none")


def image(folder: Path, *, python: str = tritonserver._PYTHON) -> Path:
    """The files of an image's /opt/tritonserver that the code reads."""
    for file in ("bin/tritonserver", "backends/python/triton_python_backend_stub"):
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_bytes(b"\x7fELF\0libpython" + python.encode() + b".so.1.0\0")
    return folder


def arguments(
    server: tritonserver.Triton,
    settings: Settings,
    ports: Ports = PORTS,
    *,
    access: Access = NOBODY,
) -> dict[str, str]:
    argv = tritonserver.command_line(
        server,
        settings,
        ports,
        repository=Path("/r"),
        backends=Path("/b"),
        region_prefix="p-",
        secret="s3cret",
        access=access,
    )
    assert argv[0] == str(server.program)
    return dict(argument.removeprefix("--").partition("=")[::2] for argument in argv[1:])


@pytest.mark.usefixtures("no_image")
def test_the_wheel_s_server_is_found_and_its_backend_assembled(tmp_path):
    server = tritonserver.find("")
    assert server.from_wheel
    assert server.has_published_holes
    backends = server.backend_directory(tmp_path)
    names = {path.name for path in (backends / "python").iterdir() if path.resolve().is_file()}
    assert {"libtriton_python.so", "triton_python_backend_stub"} <= names
    env = tritonserver.environment(
        server,
        {"PYTHONHOME": "x", "PYTHONPATH": "y", "ASR_HOST": "z", "PATH": "/bin", "KEPT": "1"},
    )
    assert not {"PYTHONHOME", "PYTHONPATH", "ASR_HOST"} & set(env)
    assert env["KEPT"] == "1"
    assert env["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/bin"]
    assert all(Path(folder).is_dir() for folder in env["LD_LIBRARY_PATH"].split(os.pathsep))
    assert env["OMP_NUM_THREADS"] == "1"


@pytest.mark.usefixtures("no_image")
def test_no_secret_is_handed_on():
    secret = {
        *("HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "AWS_ACCESS_KEY_ID", "API_KEY"),
        *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"),
        *("DB_PASSWORD", "AZURE_STORAGE_KEY", "hf_token"),
    }
    kept = {"HF_HOME", "TOKENIZERS_PARALLELISM", "CUDA_VISIBLE_DEVICES", "HTTPS_PROXY", "LANG"}
    env = tritonserver.environment(tritonserver.find(""), dict.fromkeys(secret | kept, "x"))
    assert not secret & env.keys()
    assert kept <= env.keys()


def test_an_image_s_server_is_preferred_where_it_fits(tmp_path, monkeypatch):
    monkeypatch.setattr(tritonserver, "NGC_ROOT", image(tmp_path / "fits"))
    monkeypatch.setenv("NVIDIA_TRITON_SERVER_VERSION", "26.07")
    server = tritonserver.find("")
    assert server.root == tmp_path / "fits"
    assert not server.has_published_holes
    assert server.backend_directory(tmp_path) == tmp_path / "fits" / "backends"

    monkeypatch.setattr(tritonserver, "NGC_ROOT", image(tmp_path / "other", python="3.9"))
    assert tritonserver.find("").from_wheel
    with pytest.raises(StartError, match=r"its stub is for Python 3\.9"):
        tritonserver.find(str(tmp_path / "other"))


def test_a_root_without_a_server_is_refused(tmp_path):
    for root in (tmp_path, tmp_path / "none"):
        with pytest.raises(StartError, match="has no bin/tritonserver"):
            tritonserver.find(str(root))


@pytest.mark.usefixtures("no_image")
@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (("os.confstr", lambda name: "glibc 2.31"), r"needs glibc 2\.35 or newer.* glibc 2\.31"),
        (("os.confstr", lambda name: None), r"needs glibc 2\.35"),
        (("platform.machine", lambda: "aarch64"), "x86-64"),
        (
            ("asr_backend.server.prepare.tritonserver._PYTHON", "3.99"),
            r"no stub for Python 3\.99, only for 3",
        ),
        (
            ("importlib.util.find_spec", lambda name: None),
            r"pip install '\./python_backend\[triton\]'",
        ),
    ],
)
def test_the_error_says_why_a_machine_cannot_run_it(monkeypatch, patch, message):
    monkeypatch.setattr(*patch)
    with pytest.raises(StartError, match=message):
        tritonserver.find("")


@pytest.mark.usefixtures("no_image")
def test_the_error_says_what_a_static_python_lacks(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_config_var", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(StartError, match=r"libpython3\.\d+\.so\.1\.0 is missing"):
        tritonserver.find("")


@pytest.mark.usefixtures("no_image")
def test_the_server_is_started_locked_and_with_http_off():
    found = arguments(tritonserver.find(""), Settings(exit_timeout_s=7.4))
    locked = "shared-memory,model-repository,trace,logging:LOCKED: no header opens it=s3cret"
    assert found["grpc-restricted-protocol"] == locked
    assert found["allow-http"] == "false"
    assert found["grpc-address"] == found["metrics-address"] == "127.0.0.1"
    assert found["model-control-mode"] == "poll"
    assert found["backend-config"] == "python,shm-region-prefix-name=p-"
    assert found["exit-timeout-secs"] == "7"
    assert "http-port" not in found


@pytest.mark.usefixtures("no_image")
def test_an_ipv6_address_is_written_as_each_of_triton_s_servers_wants_it():
    ports = Ports(grpc=1, metrics=2, health=3, http=4)
    found = arguments(tritonserver.find(""), Settings(host="::1", admin_host="::"), ports)
    assert found["grpc-address"] == "[::1]"
    assert found["http-address"] == "ipv6:::1"
    assert found["metrics-address"] == "ipv6:::"


@pytest.mark.usefixtures("no_image")
def test_http_is_locked_alike():
    ports = Ports(grpc=1, metrics=2, health=3, http=4)
    found = arguments(tritonserver.find(""), Settings(host="0.0.0.0"), ports)
    assert found["allow-http"] == "true"
    assert found["http-port"] == "4"
    assert found["http-address"] == "0.0.0.0"
    assert found["metrics-address"] == "127.0.0.1"
    assert found["http-restricted-api"] == found["grpc-restricted-protocol"]
