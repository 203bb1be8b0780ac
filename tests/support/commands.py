"""`asr-server` called in this process, where it must start nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from asr_backend.checkpoint.description import demo_checkpoint
from asr_backend.server import cli

FREE = ["--grpc-port=0", "--metrics-port=0", "--health-port=0"]


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
