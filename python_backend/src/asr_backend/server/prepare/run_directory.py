"""The private folder of one server: its copy of the model repository, with the settings in it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from asr_backend.acoustic.forward_plan import MAX_BATCH_AUDIO_S
from asr_backend.server.errors import StartError
from asr_backend.server.prepare import pbtxt
from asr_backend.server.prepare.checkpoint_source import Source
from asr_backend.server.prepare.identity import Identity
from asr_backend.server.settings import Settings
from asr_backend.triton_io.paths import encode_path

SHARED_MEMORY = Path("/dev/shm")
_PREFIX = "asr-server-"
_REGIONS = "regions"
"""The file with the prefix of the server's shared-memory regions."""
_REGION_PREFIX = re.compile(rf"{_PREFIX}[0-9]+-[0-9a-f]{{8}}-", re.ASCII)
_PLAIN = re.compile(r"[\w/.+=:@,-]+", re.ASCII)
NOT_READY = "not-ready"
"""A model that cannot load: while it is in the repository, Triton reports not ready."""
_NOT_READY_CONFIG = f"""name: "{NOT_READY}"
backend: "python"
input {{ name: "NONE" data_type: TYPE_FP32 dims: [ 1 ] }}
output {{ name: "NONE" data_type: TYPE_FP32 dims: [ 1 ] }}
"""


def packaged_repository() -> Path:
    """The model repository that the package carries."""
    return Path(__file__).resolve().parents[2] / "model_repository"


class RunDirectory:
    """A private folder, removed when its server ends.

    Attributes:
        path: the folder.
        repository: the model repository that Triton watches.
        empty: the server's working directory, with nothing in it.
        region_prefix: the first characters of the names of its shared-memory regions.
        progress_prefix: the first characters of the paths of its instances' signs of life.
    """

    def __init__(self, parent: str) -> None:
        """Makes the folder under `parent`, or the system's temporary folder where that is "".

        Raises:
            StartError: when it cannot be made.
        """
        # The process id is for people; in a container it is always the same, hence the token.
        self.region_prefix = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}-"
        self.progress_prefix = str(SHARED_MEMORY / f"{self.region_prefix}progress-")
        try:
            under = _under(parent)
            under.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=under))
            # Programs that clean temporary folders skip a locked one, `_remove_dead` too.
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
            (self.path / _REGIONS).write_text(self.region_prefix)
        except OSError as error:
            raise StartError(f"--run-dir {parent or 'is needed'}: {error.strerror}") from None
        _remove_dead(under)
        self.repository = self.path / "models"
        self.empty = self.path / "empty"
        self.empty.mkdir()
        self._withdrawn = self.path / "withdrawn"
        self._withdrawn.mkdir()

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._lock)
        self.remove()

    def copy_models(self, packaged: Path, configs: Mapping[str, str]) -> None:
        """Copies the models of `packaged` named in `configs`, each with its config.pbtxt.

        Raises:
            StartError: if the disk is full or not writable.
        """
        try:
            for name, config in configs.items():
                self._copy_model(packaged / name, self.repository / name, config)
        except OSError as error:
            raise StartError(f"--run-dir {self.path.parent}: {error.strerror or error}") from None

    def _copy_model(self, packaged: Path, model: Path, config: str) -> None:
        shutil.copytree(packaged, model, ignore=shutil.ignore_patterns("__pycache__"))
        (model / "config.pbtxt").write_text(config)
        for version in model.glob("[0-9]*"):
            # A file in place of the bytecode cache's folder: Triton would take a cache written
            # during a load for a change, and would load the model again.
            (version / "__pycache__").touch()

    def touch(self, model: str) -> None:
        """Makes Triton load the model again."""
        os.utime(self.repository / model / "1" / "model.py")

    def withdraw(self, model: str) -> None:
        """Takes the model out of the repository."""
        (self.repository / model).rename(self._withdrawn / model)

    def restore(self, model: str) -> None:
        """Puts a withdrawn model back."""
        (self._withdrawn / model).rename(self.repository / model)

    def turn_not_ready(self) -> None:
        """Makes Triton answer NOT_SERVING to gRPC's health protocol and no to ServerReady.

        By itself it reports ready while models are removed, and after the last one has gone. A
        model without a version cannot load, and a server with such a model is not ready. Triton
        logs that every second.
        """
        folder = self._withdrawn / NOT_READY
        folder.mkdir()
        (folder / "config.pbtxt").write_text(_NOT_READY_CONFIG)
        # Moved in when complete, so that Triton never sees a part of it.
        folder.rename(self.repository / NOT_READY)

    def reset(self) -> None:
        """Restores the state that a new tritonserver starts from."""
        for model in self._withdrawn.iterdir():
            self.restore(model.name)
        self._remove_regions()

    def remove(self) -> None:
        """Removes the folder and the server's shared-memory regions."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._remove_regions()

    def _remove_regions(self) -> None:
        _remove_regions(self.region_prefix)


def _remove_regions(prefix: str) -> None:
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        with contextlib.suppress(FileNotFoundError):
            region.unlink()


def _remove_dead(under: Path) -> None:
    """Remove what servers left under this folder whose processes were all killed at once.

    A living server locks its folder, so those of other containers are safe too.
    """
    for path in under.glob(f"{_PREFIX}*"):
        # It may belong to another user, be removed meanwhile, or belong to a living server.
        with contextlib.suppress(OSError, UnicodeDecodeError):
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                prefix = (path / _REGIONS).read_text()
                is_own = os.fstat(lock).st_uid == os.geteuid()
                if is_own and _REGION_PREFIX.fullmatch(prefix):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
                    _remove_regions(prefix)
            finally:
                os.close(lock)


def check_run_dir(parent: str) -> None:
    """Check that a RunDirectory can be made under `parent`; it makes nothing.

    Raises:
        StartError: it cannot.
    """
    under = _under(parent)
    # Folders that are missing are made.
    there = next(folder for folder in (under, *under.parents) if folder.exists())
    if not there.is_dir():
        raise StartError(f"--run-dir {parent}: {os.strerror(errno.ENOTDIR)}")
    if not os.access(there, os.W_OK | os.X_OK):
        raise StartError(f"--run-dir {parent or 'is needed'}: {os.strerror(errno.EACCES)}")


def _under(parent: str) -> Path:
    under = Path(parent or tempfile.gettempdir()).expanduser().absolute()
    _check_name(under)
    return under


def _check_name(under: Path) -> None:
    """Refuse a folder from which Triton cannot start a model's process.

    It does so with a shell command in which the path is not quoted, and the process reads file
    names as ASCII.
    """
    if not _PLAIN.fullmatch(str(under)):
        raise StartError(
            f"--run-dir {str(under)!a}: Triton can start processes only from a folder whose path "
            "has letters of ASCII, digits and the marks / . _ - + = : @ , alone; name such a one, "
            "or set TMPDIR"
        )


def render_configs(
    packaged: Path,
    settings: Settings,
    source: Source,
    *,
    gpus: Sequence[int],
    precision: str,
    prepared: Path | None = None,
    identity: Identity | None,
) -> dict[str, str]:
    """The models' config.pbtxt with the settings written in, by model.

    Args:
        packaged: the model repository to start from.
        settings: of asr-server.
        source: the checkpoint.
        gpus: those that wav2vec2 will run on, by CUDA's count; none for the CPU.
        precision: of the network, not "auto": wav2vec2 loads in this one or not at all, so what
            transcribe reports is what computes.
        prepared: folder of the prepared network; None without one.
        identity: of the model; None for a checkpoint that is not fetched yet.
    """
    shared = {
        "model": _model(settings, source),
        "model_id": source.id if settings.model else "",
        "model_revision": source.revision if settings.model else "",
        "blank_id": str(settings.blank_id) if settings.blank_id >= 0 else "",
        "max_window_s": f"{settings.max_window_s:.10g}",
    }
    acoustic = pbtxt.loads((packaged / "wav2vec2" / "config.pbtxt").read_text())
    pbtxt.put(acoustic, "max_batch_size", str(settings.max_batch_size))
    batching = pbtxt.child(acoustic, "dynamic_batching")
    pbtxt.put(batching, "max_queue_delay_microseconds", str(_queue_delay_us(settings, len(gpus))))
    # Not KIND_AUTO: Triton would count GPUs itself, and a process that cannot use its GPU would
    # silently run on the CPU.
    _put_instances(acoustic, settings.instances, gpus)
    _put_parameters(
        acoustic,
        shared
        | {
            "device": "cuda" if gpus else "cpu",
            "precision": precision,
            "prepared": encode_path(prepared) if prepared else "",
            "compile": str(int(settings.compile)),
            "threads": str(settings.effective_threads),
            "instances": str(settings.instances),
            "gpu_memory_fraction": f"{settings.gpu_memory_fraction:.10g}",
            "max_batch_audio_s": f"{settings.max_batch_audio_s:.10g}",
        },
    )

    of_fronts = shared | {
        "lm": encode_path(Path(settings.lm).expanduser().absolute()) if settings.lm else "",
        "max_audio_bytes": str(settings.max_audio_bytes),
        "max_audio_samples": str(settings.max_audio_samples),
        "max_channels_audio_s": f"{settings.max_channels_audio_s:.10g}",
        "max_beam_work": f"{settings.max_beam_work:.10g}",
        "long_audio_s": f"{_long_audio_s(settings, len(gpus)):.10g}",
    }
    of_fronts |= identity.parameters(precision) if identity else {}
    of_files = {"max_audio_s": f"{settings.max_audio_s:.10g}"}
    configs = {"wav2vec2": pbtxt.dumps(acoustic)}
    for model, count, parameters in (
        ("transcribe", settings.effective_frontends, of_fronts | of_files),
        ("transcribe_stream", settings.stream_frontends, of_fronts),
    ):
        if count:
            configs[model] = _front(packaged / model, settings, count, parameters)
    return configs


def _front(model: Path, settings: Settings, count: int, parameters: Mapping[str, str]) -> str:
    """The config.pbtxt of a model whose instances are fronts."""
    front = pbtxt.loads((model / "config.pbtxt").read_text())
    policy = pbtxt.child(pbtxt.child(front, "dynamic_batching"), "default_queue_policy")
    pbtxt.put(policy, "max_queue_size", str(settings.max_queue_size))
    _put_instances(front, count)
    _put_parameters(front, {**parameters, "frontends": str(count)})
    return pbtxt.dumps(front)


def _model(settings: Settings, source: Source) -> str:
    """The checkpoint's folder; "" for the demo."""
    if not settings.model:
        return ""
    # A hub checkpoint that is not fetched yet, under --print-config, has no folder.
    return encode_path(source.path) if source.path else settings.model


def _queue_delay_us(settings: Settings, gpus: int) -> int:
    """0 on a CPU: wider batches gain little there, and a single caller would wait in vain."""
    if settings.max_queue_delay_us >= 0:
        return settings.max_queue_delay_us
    return 2000 if gpus else 0


def _long_audio_s(settings: Settings, gpus: int) -> float:
    """Seconds of long audio in flight: one forward of the longest windows for each instance.

    Most windows of long recordings are far shorter, so this is one running forward and some queued
    windows. More would only lengthen the queue in which short recordings wait.
    """
    budget_s = settings.max_batch_audio_s or MAX_BATCH_AUDIO_S["cuda" if gpus else "cpu"]
    forward = min(settings.max_batch_size, max(1, int(budget_s // settings.max_window_s)))
    return forward * settings.max_window_s * settings.instances * max(1, gpus)


def _put_instances(config: pbtxt.Message, count: int, gpus: Sequence[int] = ()) -> None:
    """Writes `count` instances for each GPU, or for the CPU if there is none."""
    group: pbtxt.Message = [("count", str(count)), ("kind", "KIND_GPU" if gpus else "KIND_CPU")]
    group += [("gpus", str(index)) for index in gpus]
    pbtxt.put(config, "instance_group", group)


def _put_parameters(config: pbtxt.Message, values: Mapping[str, str]) -> None:
    """Writes the parameters that are not empty.

    The JSON form of ModelConfig omits an empty text, and pytriton's client, which reads that form
    over gRPC, raises KeyError then.
    """
    for key, text in values.items():
        if text:
            pbtxt.put_parameter(config, key, text)
