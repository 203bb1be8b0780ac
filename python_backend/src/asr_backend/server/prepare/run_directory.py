"""The private folder of one server: its copy of the model repository, with the settings in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from asr_backend.acoustic.forward_plan import MAX_BATCH_AUDIO_S
from asr_backend.server.errors import StartError
from asr_backend.server.prepare import pbtxt
from asr_backend.server.prepare.checkpoint_source import Source
from asr_backend.server.settings import Settings

SHARED_MEMORY = Path("/dev/shm")
NOT_READY = "not-ready"
"""The model that Triton is given to find itself not ready."""
_NOT_READY_CONFIG = f"""name: "{NOT_READY}"
backend: "python"
input {{ name: "NONE" data_type: TYPE_FP32 dims: [ 1 ] }}
output {{ name: "NONE" data_type: TYPE_FP32 dims: [ 1 ] }}
"""


def packaged_repository() -> Path:
    """The model repository that the package carries."""
    return Path(__file__).resolve().parents[2] / "model_repository"


class RunDirectory:
    """A folder that lives as long as its server.

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
        try:
            under = Path(parent or tempfile.gettempdir()).expanduser().absolute()
            under.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(prefix="asr-server-", dir=under))
        except OSError as error:
            raise StartError(f"--run-dir {parent or 'is needed'}: {error.strerror}") from None
        # Cleaners of temporary folders leave a locked one alone, for however long we serve.
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self.repository = self.path / "models"
        self.empty = self.path / "empty"
        self.empty.mkdir()
        self._withdrawn = self.path / "withdrawn"
        self._withdrawn.mkdir()
        # The process id is for a person who looks; in containers it is always the same one.
        self.region_prefix = f"asr-server-{os.getpid()}-{secrets.token_hex(4)}-"
        self.progress_prefix = str(SHARED_MEMORY / f"{self.region_prefix}progress-")

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._lock)
        self.remove()

    def copy_models(self, packaged: Path, configs: Mapping[str, str]) -> None:
        """Copies the models of `packaged` that `configs` names, with these config.pbtxt.

        Raises:
            StartError: when there is no room.
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
            # A file where Python wants a folder: a bytecode cache made while the model loads
            # would look to Triton like a change, and it would load the model again.
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
        """Makes Triton say NOT_SERVING to gRPC's health protocol and no to ServerReady.

        By itself it is ready while models are taken out, and after the last one is gone. A model
        without a version cannot load, and a server with such a model is not ready. Triton says so
        in a line of its log every second.
        """
        folder = self._withdrawn / NOT_READY
        folder.mkdir()
        (folder / "config.pbtxt").write_text(_NOT_READY_CONFIG)
        # Complete before Triton can see it.
        folder.rename(self.repository / NOT_READY)

    def reset(self) -> None:
        """Makes it what a new tritonserver starts from, after the end of the one before."""
        for model in self._withdrawn.iterdir():
            self.restore(model.name)
        self._remove_regions()

    def remove(self) -> None:
        """Removes the folder and the server's shared-memory regions."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._remove_regions()

    def _remove_regions(self) -> None:
        for region in SHARED_MEMORY.glob(f"{self.region_prefix}*"):
            with contextlib.suppress(FileNotFoundError):
                region.unlink()


def render_configs(
    packaged: Path, settings: Settings, source: Source, *, gpus: Sequence[int]
) -> dict[str, str]:
    """The models' config.pbtxt with the settings written in, by model.

    Args:
        packaged: the model repository to start from.
        settings: of asr-server.
        source: the checkpoint.
        gpus: those that wav2vec2 will run on, by CUDA's count; none for the CPU.
    """
    shared = {
        # A hub checkpoint that is not fetched yet, under --print-config, has no folder.
        "model": str(source.path or settings.model) if settings.model else "",
        "model_id": source.id if settings.model else "",
        "model_revision": source.revision if settings.model else "",
        "max_window_s": f"{settings.max_window_s:.10g}",
    }
    acoustic = pbtxt.loads((packaged / "wav2vec2" / "config.pbtxt").read_text())
    pbtxt.put(acoustic, "max_batch_size", str(settings.max_batch_size))
    batching = pbtxt.child(acoustic, "dynamic_batching")
    pbtxt.put(batching, "max_queue_delay_microseconds", str(_queue_delay_us(settings, len(gpus))))
    # Not KIND_AUTO: Triton would count for itself, and a process that cannot use a GPU after all
    # would run on the CPU and say nothing.
    _put_instances(acoustic, settings.instances, gpus)
    _put_parameters(
        acoustic,
        shared
        | {
            "device": "cuda" if gpus else "cpu",
            "precision": settings.precision,
            "compile": str(int(settings.compile)),
            "threads": str(settings.effective_threads),
            "instances": str(settings.instances),
            "gpu_memory_fraction": f"{settings.gpu_memory_fraction:.10g}",
            "max_batch_audio_s": f"{settings.max_batch_audio_s:.10g}",
        },
    )

    front = pbtxt.loads((packaged / "transcribe" / "config.pbtxt").read_text())
    policy = pbtxt.child(pbtxt.child(front, "dynamic_batching"), "default_queue_policy")
    pbtxt.put(policy, "max_queue_size", str(settings.max_queue_size))
    _put_instances(front, settings.effective_frontends)
    _put_parameters(
        front,
        shared
        | {
            "lm": str(Path(settings.lm).expanduser().absolute()) if settings.lm else "",
            "max_audio_s": f"{settings.max_audio_s:.10g}",
            "max_audio_bytes": str(settings.max_audio_bytes),
            "max_audio_samples": str(settings.max_audio_samples),
            "max_channels_audio_s": f"{settings.max_channels_audio_s:.10g}",
            "max_beam_work": f"{settings.max_beam_work:.10g}",
            "frontends": str(settings.effective_frontends),
            "long_audio_s": f"{_long_audio_s(settings, len(gpus)):.10g}",
        },
    )
    return {"wav2vec2": pbtxt.dumps(acoustic), "transcribe": pbtxt.dumps(front)}


def _queue_delay_us(settings: Settings, gpus: int) -> int:
    """On a CPU wider batches gain little, and a window of a lone caller would wait for nobody."""
    if settings.max_queue_delay_us >= 0:
        return settings.max_queue_delay_us
    return 2000 if gpus else 0


def _long_audio_s(settings: Settings, gpus: int) -> float:
    """For each instance a forward of the longest windows.

    Most windows of long recordings are far shorter, so that this is one forward in work and some
    waiting. More would only lengthen the queue that short recordings stand in.
    """
    budget_s = settings.max_batch_audio_s or MAX_BATCH_AUDIO_S["cuda" if gpus else "cpu"]
    forward = min(settings.max_batch_size, max(1, int(budget_s // settings.max_window_s)))
    return forward * settings.max_window_s * settings.instances * max(1, gpus)


def _put_instances(config: pbtxt.Message, count: int, gpus: Sequence[int] = ()) -> None:
    """Writes `count` instances for each GPU, or for the CPU where there is none."""
    group: pbtxt.Message = [("count", str(count)), ("kind", "KIND_GPU" if gpus else "KIND_CPU")]
    group += [("gpus", str(index)) for index in gpus]
    pbtxt.put(config, "instance_group", group)


def _put_parameters(config: pbtxt.Message, values: Mapping[str, str]) -> None:
    """Writes those that are not empty.

    The JSON form of ModelConfig leaves an empty text out, and pytriton's client, which reads that
    form over gRPC, ends with a KeyError there.
    """
    for key, text in values.items():
        if text:
            pbtxt.put_parameter(config, key, text)
