"""The systemd unit as data: what it names exists, and a stop leaves files in flight their time."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from asr_backend.server import settings

FOLDER = Path(__file__).parents[3] / "deploy" / "systemd"
VARIABLES = set(map(settings.env_name, settings.FIELDS))


@pytest.fixture
def service() -> dict[str, str]:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment]
    unit.read(FOLDER / "asr-server.service")
    assert set(unit) == {"DEFAULT", "Unit", "Service", "Install"}
    return dict(unit["Service"])


def test_it_runs_asr_server_with_flags_that_there_are(service: dict[str, str]) -> None:
    program, *arguments = service["ExecStart"].split()
    assert Path(program).name == "asr-server"
    settings.parse(arguments, {})
    # The flag that the server is told to be ready by would be another type.
    assert service["Type"] == "exec"


def test_the_variables_are_ones_the_server_reads(service: dict[str, str]) -> None:
    assert service["EnvironmentFile"] == "-/etc/asr-server/asr-server.env"
    lines = (FOLDER / "asr-server.env").read_text().splitlines()
    given = dict(line.removeprefix("#").split("=", 1) for line in lines if "=" in line)
    assert given
    assert given.keys() <= VARIABLES
    settings.parse([], given)
    named = re.findall(r"\bASR_\w+", (FOLDER / "asr-server.service").read_text())
    assert set(named) - {"ASR_"} <= VARIABLES
    assert not any("TOKEN" in name or "KEY" in name for name in given)


def test_a_stop_is_told_to_asr_server_alone_and_waits_for_it(service: dict[str, str]) -> None:
    # To the whole group, systemd's default, the signal would end the models first.
    assert service["KillMode"] == "mixed"
    assert service["KillSignal"] == "SIGTERM"
    # 6 s for unloading, measured with two fronts, and some more.
    assert int(service["TimeoutStopSec"]) >= settings.Settings().exit_timeout_s + 20


def test_what_asr_server_mends_is_left_to_it(service: dict[str, str]) -> None:
    assert service["OOMPolicy"] == "continue"
    assert service["Restart"] == "on-failure"
    # A wrong flag stays wrong.
    assert service["RestartPreventExitStatus"] == "2"


def test_it_is_confined_but_not_from_a_gpu_or_compiled_code(service: dict[str, str]) -> None:
    for option in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "RestrictSUIDSGID"):
        assert service[option] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    hostile = {"PrivateDevices", "ProtectClock", "MemoryDenyWriteExecute", "ProcSubset"}
    assert not hostile & service.keys()
    # The cache is the one place that it writes besides its temporary files.
    cache = f"/var/cache/{service['CacheDirectory']}"
    kept = dict(each.split("=") for each in service["Environment"].split())
    assert kept.keys() == {"HF_HOME", "ASR_CACHE_DIR"}
    assert all(folder.startswith(f"{cache}/") for folder in kept.values())
