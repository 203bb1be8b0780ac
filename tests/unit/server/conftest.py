from __future__ import annotations

import subprocess

import pytest

from asr_backend.server import cli
from asr_backend.server.prepare.network import Network
from asr_backend.server.supervise import supervisor


@pytest.fixture
def starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args):
        raise AssertionError("something was started")

    monkeypatch.setattr(supervisor.Supervisor, "run", refuse)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(cli, "prepare_network", lambda *_: Network(precision="fp32"))
