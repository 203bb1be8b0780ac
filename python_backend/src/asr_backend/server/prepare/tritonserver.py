"""Finds a tritonserver for this Python, and makes its environment and command line."""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from asr_backend.server.errors import StartError
from asr_backend.server.prepare import guard
from asr_backend.server.prepare.addresses import bracketed, for_triton_http
from asr_backend.server.prepare.credentials import TOKEN_KEY, Access
from asr_backend.server.prepare.ports import Ports
from asr_backend.server.settings import ENV_PREFIX, Settings

NGC_ROOT = Path("/opt/tritonserver")
# Releases before 25.07 let a caller run code, through HTTP and the shared-memory calls
# (CVE-2025-23310, 23311, 23319, 23320, 23334).
SAFE_RELEASE = (25, 7)
_WHEEL_GLIBC = (2, 35)
_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_STUB = "triton_python_backend_stub"
_IMAGE_STUB = f"backends/python/{_STUB}"
# Calls that a caller never needs, and that the published holes use.
_LOCKED_APIS = "shared-memory,model-repository,trace,logging"
# The header that opens them. No caller can send it: a colon ends a header's name in HTTP/1, and
# gRPC closes a connection over a name with a colon, a space or a capital letter. The value alone
# would be no lock: every user of the machine can read tritonserver's arguments.
_LOCK = "LOCKED: no header opens it"
# Parts of the names of variables that hold secrets: HF_TOKEN, AWS_SECRET_ACCESS_KEY.
_SECRET_WORDS = {"TOKEN", "KEY", "SECRET", "PASSWORD", "CREDENTIALS"}
# All other calls except health.
_TOKEN_APIS = "inference,metadata,model-config,statistics"


@dataclass(frozen=True, kw_only=True)
class Triton:
    """A tritonserver on this machine.

    Attributes:
        root: folder with bin/tritonserver.
        stub: the Python backend's program for the running Python.
        library_dirs: folders for LD_LIBRARY_PATH.
        release: such as (24, 10), or None if unknown.
        from_wheel: whether nvidia-pytriton carries it; its backend folder has to be assembled.
    """

    root: Path
    stub: Path
    library_dirs: tuple[Path, ...]
    release: tuple[int, int] | None
    from_wheel: bool

    @property
    def program(self) -> Path:
        """The server's executable."""
        return self.root / "bin" / "tritonserver"

    @property
    def has_published_holes(self) -> bool:
        """Whether its release is known to be older than 25.07, which fixed the published holes."""
        return self.release is not None and self.release < SAFE_RELEASE

    @property
    def is_guarded(self) -> bool:
        """Whether asr-server's guard is made for it; without a guard, callers can crash it."""
        return self.from_wheel and self.release == guard.RELEASE

    def backend_directory(self, run_dir: Path) -> Path:
        """The folder for --backend-directory; for the wheel's Triton it is made under `run_dir`."""
        backends = self.root / "backends"
        if not self.from_wheel:
            return backends
        python = run_dir / "backends" / "python"
        python.mkdir(parents=True)
        for file in [*(backends / "python").iterdir(), self.stub]:
            if file.is_file():
                (python / file.name).symlink_to(file)
        return python.parent


def find(root: str) -> Triton:
    """The tritonserver to run: `root`, else an image's for this Python, else the wheel's.

    Raises:
        StartError: if there is none, or it cannot run with this Python on this machine.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise StartError(f"Triton needs Linux on x86-64, this is {platform.platform()}")
    wheel = _wheel_root()
    if root:
        path = Path(root).expanduser().absolute()
        is_wheel = wheel is not None and path.exists() and path.samefile(wheel)
        return _from_wheel(path) if is_wheel else _from_image(path)
    if NGC_ROOT.is_dir() and (wheel is None or _stub_python(NGC_ROOT / _IMAGE_STUB) == _PYTHON):
        return _from_image(NGC_ROOT)
    if wheel is None:
        raise StartError(
            f"no tritonserver: {NGC_ROOT} is not there and nvidia-pytriton is not installed; "
            "in the project's folder: pip install './python_backend[triton]'; or name one with "
            "--triton-root"
        )
    return _from_wheel(wheel)


def _wheel_root() -> Path | None:
    spec = importlib.util.find_spec("pytriton")
    for package in (spec.submodule_search_locations or []) if spec else []:
        if (Path(package) / "tritonserver" / "bin" / "tritonserver").is_file():
            return Path(package) / "tritonserver"
    return None


def _from_wheel(root: Path) -> Triton:
    found = os.confstr("CS_GNU_LIBC_VERSION") or "an unknown C library"
    match = re.match(r"glibc (\d+)\.(\d+)", found)
    if match is None or (int(match[1]), int(match[2])) < _WHEEL_GLIBC:
        raise StartError(f"the wheel's Triton needs glibc 2.35 or newer, this machine has {found}")
    stub = root / "python_backend_stubs" / _PYTHON / _STUB
    if not stub.is_file():
        known = ", ".join(sorted(p.name for p in stub.parent.parent.glob("*")))
        raise StartError(f"the wheel's Triton has no stub for Python {_PYTHON}, only for {known}")
    return Triton(
        root=root,
        stub=stub,
        library_dirs=(root.parents[1] / "nvidia_pytriton.libs", *_libpython_dirs()),
        release=_wheel_release(),
        from_wheel=True,
    )


def _wheel_release() -> tuple[int, int] | None:
    # The wheel does not name its Triton; 0.7.0 carries 2.51.0 (24.10).
    version = importlib.metadata.version("nvidia-pytriton").split(".")
    return (24, 10) if [int(part) for part in version[:2]] <= [0, 7] else None


def _from_image(root: Path) -> Triton:
    stub = root / _IMAGE_STUB
    if not (root / "bin" / "tritonserver").is_file() or not stub.is_file():
        raise StartError(f"{root}: has no bin/tritonserver with {_IMAGE_STUB}")
    if (python := _stub_python(stub)) != _PYTHON:
        raise StartError(f"{root}: its stub is for Python {python}, this is Python {_PYTHON}")
    return Triton(
        root=root,
        stub=stub,
        library_dirs=(root / "lib", *_libpython_dirs()),
        release=_image_release(),
        from_wheel=False,
    )


def _image_release() -> tuple[int, int] | None:
    match = re.match(r"(\d\d)\.(\d\d)", os.environ.get("NVIDIA_TRITON_SERVER_VERSION", ""))
    return (int(match[1]), int(match[2])) if match else None


def _stub_python(stub: Path) -> str:
    """The Python version a stub links to; a stub of another version would find no packages."""
    program = stub.read_bytes() if stub.is_file() else b""
    match = re.search(rb"libpython(3\.\d+)\.so", program)
    return match[1].decode() if match else "unknown"


def _libpython_dirs() -> tuple[Path, ...]:
    """The folder of libpython, or nothing if the loader finds it by itself."""
    name = f"libpython{_PYTHON}.so.1.0"
    for folder in (sysconfig.get_config_var("LIBDIR") or "", f"{sys.base_prefix}/lib"):
        if folder and (Path(folder) / name).is_file():
            return (Path(folder),)
    if ctypes.util.find_library(f"python{_PYTHON}") == name:
        return ()
    raise StartError(
        f"{name} is missing: {sys.base_prefix} is built static; use a Python with a shared library "
        f"(apt install libpython{_PYTHON}, or pyenv with PYTHON_CONFIGURE_OPTS=--enable-shared)"
    )


def environment(triton: Triton, base: Mapping[str, str]) -> dict[str, str]:
    """Variables for tritonserver and its stubs.

    Variables whose names mark them as secrets, such as HF_TOKEN, are left out: these processes
    handle untrusted input, and everything is downloaded by now.
    """
    env = {key: value for key, value in base.items() if _is_handed_on(key)}
    libraries = [*map(str, triton.library_dirs), base.get("LD_LIBRARY_PATH", "")]
    # The stub finds a virtual environment's packages through the first python on PATH.
    programs = [str(Path(sys.executable).parent), base.get("PATH", os.defpath)]
    env |= {
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, libraries)),
        "PATH": os.pathsep.join(programs),
        # For the fronts; wav2vec2 sets its own number of threads.
        "OMP_NUM_THREADS": "1",
        # Everything is downloaded by now: no model may use the network.
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }
    return guard.variables(env) if triton.is_guarded and guard.problem() is None else env


def _is_handed_on(name: str) -> bool:
    return (
        name not in ("PYTHONHOME", "PYTHONPATH")
        and not name.startswith(ENV_PREFIX)
        and _SECRET_WORDS.isdisjoint(name.upper().split("_"))
    )


def command_line(
    triton: Triton,
    settings: Settings,
    ports: Ports,
    *,
    repository: Path,
    backends: Path,
    region_prefix: str,
    secret: str,
    access: Access,
) -> list[str]:
    """The arguments of tritonserver.

    Args:
        triton: the server to run.
        settings: of asr-server.
        ports: where it listens.
        repository: the private model repository.
        backends: the backend directory.
        region_prefix: the first characters of its shared-memory regions' names.
        secret: the value of the header of the locked protocols, which cannot be sent.
        access: certificates and token.
    """
    args: dict[str, object] = {
        "model-repository": repository,
        "backend-directory": backends,
        "backend-config": f"python,shm-region-prefix-name={region_prefix}",
        "model-control-mode": "poll",
        "repository-poll-secs": 1,
        "exit-timeout-secs": max(1, round(settings.exit_timeout_s)),
        "grpc-address": bracketed(settings.host),
        "grpc-port": ports.grpc,
        "metrics-address": for_triton_http(settings.admin_host),
        "metrics-port": ports.metrics,
        # Without it Triton's page has sums of times alone, whose quotients are means.
        "metrics-config": "summary_latencies=true",
        "allow-http": "true" if ports.http else "false",
    }
    if ports.http:
        args |= {
            "http-address": for_triton_http(settings.host),
            "http-port": ports.http,
        }
    if access.tls:
        args |= {
            "grpc-use-ssl-mutual" if access.tls.client_ca else "grpc-use-ssl": "true",
            "grpc-server-cert": access.tls.certificate,
            "grpc-server-key": access.tls.key,
        }
        if access.tls.client_ca:
            args["grpc-root-cert"] = access.tls.client_ca
    groups = [f"{_LOCKED_APIS}:{_LOCK}={secret}"]
    if access.token:
        groups.append(f"{_TOKEN_APIS}:{TOKEN_KEY}={access.token}")
    gates = ["grpc-restricted-protocol", *(["http-restricted-api"] if ports.http else [])]
    # The configurations are complete; completing them would start one more stub at every load.
    flags = ["--disable-auto-complete-config", *(f"--{key}={value}" for key, value in args.items())]
    flags += [f"--{gate}={group}" for gate in gates for group in groups]
    return [str(triton.program), *flags]
