"""The settings of a server of the sweep."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

DEVICES = {"cpu": "cpu", "gpu": "cuda"}
"""The sweep's word for a kind of device, and asr-server's."""


@dataclass(frozen=True, kw_only=True, order=True)
class ServerSetting:
    """One setting of asr-server; every value is the effective one."""

    instances: int
    """Processes of `wav2vec2` on each device."""

    max_batch_size: int
    """Windows in one batch of `wav2vec2`."""

    max_queue_delay_us: int
    """Microseconds that a window waits for others."""

    threads: int
    """CPU threads of each `wav2vec2` process; 0 shares the cores out among the instances."""

    precision: str
    """Arithmetic of the network."""

    device: str
    """`cpu` or `gpu`."""

    def flags(self) -> list[str]:
        """The flags of asr-server."""
        return [
            f"--instances={self.instances}",
            f"--max-batch-size={self.max_batch_size}",
            f"--max-queue-delay-us={self.max_queue_delay_us}",
            f"--threads={self.threads}",
            f"--precision={self.precision}",
            f"--device={DEVICES[self.device]}",
        ]

    def __str__(self) -> str:
        plural = "" if self.instances == 1 else "s"
        threads = f"{self.threads} threads each" if self.threads else "threads by default"
        return (
            f"{self.instances} instance{plural}, batch {self.max_batch_size}, "
            f"delay {self.max_queue_delay_us} us, {threads}, precision {self.precision}, "
            f"on {self.device.upper()}"
        )


FIELDS = tuple(field.name for field in dataclasses.fields(ServerSetting))


def name_apart(settings: Sequence[ServerSetting]) -> dict[ServerSetting, str]:
    """A short name for each: the instances, and whatever else differs among them."""
    short = {
        "max_batch_size": "batch {}",
        "max_queue_delay_us": "delay {} us",
        "threads": "threads {}",
        "precision": "{}",
        "device": "{}",
    }
    varied = [name for name in short if len({getattr(setting, name) for setting in settings}) > 1]
    return {
        setting: ", ".join(
            [
                f"{setting.instances} instance{'' if setting.instances == 1 else 's'}",
                *(short[name].format(getattr(setting, name)) for name in varied),
            ]
        )
        for setting in settings
    }
