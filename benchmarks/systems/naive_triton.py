"""The naive Python-backend model of tutorials on the same tritonserver as this service."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.systems.triton_calls import TritonPeer
from tools.local_server import free_ports

REPOSITORY = Path(__file__).resolve().parents[1] / "naive_triton"


class NaiveTriton(TritonPeer):
    """See System."""

    name = "naive Triton model"
    requirements = ()

    def command(self, python: Path, checkpoint: Path) -> list[str]:
        """See Peer."""
        from asr_backend.server.prepare import tritonserver

        server = tritonserver.find("")
        folder = self.padding_log.parent
        (metrics_port,) = free_ports(1)
        options = {
            "model-repository": self._repository(checkpoint),
            "backend-directory": server.backend_directory(folder),
            "backend-config": f"python,shm-region-prefix-name={folder.name}",
            "allow-http": "false",
            "grpc-address": "127.0.0.1",
            "grpc-port": self.port,
            "metrics-address": "127.0.0.1",
            "metrics-port": metrics_port,
        }
        return [str(server.program), *(f"--{key}={value}" for key, value in options.items())]

    def _repository(self, checkpoint: Path) -> Path:
        """A copy of the model repository that says where the checkpoint is."""
        repository = self.padding_log.parent / "models"
        shutil.copytree(REPOSITORY, repository)
        values = {"checkpoint": checkpoint, "padding_log": self.padding_log}
        with (repository / "transcribe" / "config.pbtxt").open("a") as config:
            for key, value in values.items():
                config.write(
                    f'parameters {{ key: "{key}" value: {{ string_value: "{value}" }} }}\n'
                )
        return repository
