"""The demo installs once, and ends with 0 only where all was heard as well as the card says."""

import contextlib
import io
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from asr_client.testing import FakeServer
from tools import demo


def status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, stated: float, heard: str) -> int:
    """What `make demo` ends with when a server hears the same in every recording."""

    @contextlib.contextmanager
    def local_server(**_: object) -> Iterator[SimpleNamespace]:
        with FakeServer(text=heard) as server:
            yield SimpleNamespace(url=server.url)

    monkeypatch.setattr(demo, "local_server", local_server)
    monkeypatch.setattr(demo, "stated_word_error_rate", lambda card: stated)
    return demo.run(Console(file=io.StringIO()), tmp_path / "log")


def test_words_as_good_as_the_card_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert status(monkeypatch, tmp_path, stated=0.96, heard="") == 0


def test_worse_words_than_the_card_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert status(monkeypatch, tmp_path, stated=0.94, heard="") == 1


def test_a_recording_that_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recordings = [*demo.recordings(), (tmp_path / "empty.wav", "five")]
    (tmp_path / "empty.wav").touch()
    monkeypatch.setattr(demo, "recordings", lambda: recordings)
    assert status(monkeypatch, tmp_path, stated=0.96, heard="") == 1


def test_ctrl_c_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(console: Console, log_path: Path) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run", interrupted)
    assert demo.main() == 130
    log = Path(capsys.readouterr().out.split("the server's log is")[1].strip().replace("\n", ""))
    log.unlink()


def test_a_second_run_installs_nothing(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    packages = ["python_backend", "client_sdk", "gateway"]
    pins = ["requirements.txt", *(f"{package}/pyproject.toml" for package in packages)]
    for name in ["Makefile", *pins]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(root / name, tmp_path / name)

    def planned() -> str:
        # Without what a make that runs the tests hands on to the ones below it.
        env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        command = ["make", "--dry-run", "demo"]
        return subprocess.run(
            command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        ).stdout

    installed = tmp_path / ".venv" / ".installed"
    assert " install " in planned()
    installed.parent.mkdir()
    installed.touch()
    assert planned().split() == [".venv/bin/python", "-m", "tools.demo"]
    now_s = installed.stat().st_mtime
    for name in pins:
        os.utime(tmp_path / name, (now_s + 1, now_s + 1))
        assert " install " in planned(), name
        os.utime(tmp_path / name, (now_s - 1, now_s - 1))
