"""What --cache-dir keeps, and what is measured again; a stand-in answers for torch."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import pytest

from asr_backend.checkpoint.description import demo_checkpoint, load_checkpoint
from asr_backend.server.errors import StartError
from asr_backend.server.prepare import network as module
from asr_backend.server.prepare.cache_directory import CacheDirectory
from asr_backend.server.prepare.devices import Gpus, resolved_precision
from asr_backend.server.prepare.identity import Identity
from asr_backend.server.prepare.network import Network, prepare_network
from asr_backend.server.settings import Settings

PROGRAM = """
import json, sys
from pathlib import Path
from asr_backend.checkpoint.prepared import write_entry
asked, request = Path(sys.argv[1]), json.loads(sys.argv[-1])
asked.write_text((asked.read_text() if asked.exists() else "") + json.dumps(request) + chr(10))
precision = "bf16" if request["precision"] == "auto" else request["precision"]
if request["folder"]:
    folder = Path(request["folder"])
    (folder / "network.bin").write_bytes(b"weights")
    write_entry(
        folder, key=request["key"], precision=precision, measured="so", names=("network.bin",)
    )
print("a line before")
print(json.dumps({"precision": precision, "measured": "so", "notes": ["a note"], "refused": ""}))
"""


class Machine:
    """Starts servers on one cache folder, and counts how often the network was prepared."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = folder / "cache"
        self._asked = folder / "asked"
        self._monkeypatch = monkeypatch
        self.answers(PROGRAM)

    def answers(self, program: str) -> None:
        command = (sys.executable, "-c", program, str(self._asked))
        self._monkeypatch.setattr(module, "_PREPARE", command)

    def start(self, *, network: str = "n", gpus: Gpus | None = None, **settings: object) -> Network:
        identity = Identity(
            model_id="demo",
            model_revision="1",
            languages=(),
            decoders=("greedy",),
            language_model="",
            content="c",
            network=network,
        )
        values = {"cache_dir": str(self.cache), "threads": 1, **settings}
        chosen = Settings(**values)  # type: ignore[arg-type]
        checkpoint = load_checkpoint(demo_checkpoint())
        return prepare_network(chosen, checkpoint, identity, gpus or Gpus(), os.environ)

    def requests(self) -> list[dict]:
        lines = self._asked.read_text().splitlines() if self._asked.exists() else []
        return [json.loads(line) for line in lines]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def entries(machine: Machine) -> list[Path]:
    return sorted(machine.cache.iterdir())


def test_it_is_measured_once(machine: Machine) -> None:
    first = machine.start()
    assert (first.precision, first.measured, first.notes) == ("bf16", "so", ("a note",))
    (folder,) = entries(machine)
    assert first.folder == folder
    second = machine.start()
    assert (second.precision, second.measured, second.folder) == ("bf16", "so", folder)
    (request,) = machine.requests()
    assert (request["precision"], request["threads"]) == ("auto", 1)
    assert request["checkpoint"] == str(demo_checkpoint())
    assert machine.cache.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "change",
    [
        {"network": "other weights, libraries or code"},
        {"threads": 2},
        {"precision": "int8"},
    ],
)
def test_what_a_measurement_depends_on(machine: Machine, change: dict) -> None:
    machine.start()
    machine.start(**change)
    assert len(machine.requests()) == len(entries(machine)) == 2


def test_another_cpu_measures_for_itself(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.start()
    monkeypatch.setattr(module, "cpu_description", lambda: ("another", "avx2"))
    machine.start()
    assert len(machine.requests()) == 2


def test_a_named_precision_does_not_depend_on_threads(machine: Machine) -> None:
    assert machine.start(precision="int8").precision == "int8"
    assert machine.start(precision="int8", threads=2).folder is not None
    assert len(machine.requests()) == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("entry.json", b""),
        ("entry.json", b'{"key": 1}'),
        ("entry.json", None),
        ("network.bin", b"weightz"),
        ("network.bin", None),
    ],
)
def test_a_broken_entry_is_made_again(machine: Machine, name: str, content: bytes | None) -> None:
    machine.start()
    (folder,) = entries(machine)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert machine.start().folder == folder
    assert len(machine.requests()) == 2
    assert (folder / "network.bin").read_bytes() == b"weights"
    assert entries(machine) == [folder]
    machine.start()
    assert len(machine.requests()) == 2


def test_an_entry_in_a_precision_that_was_not_asked_for(machine: Machine) -> None:
    machine.start()
    (folder,) = entries(machine)
    text = (folder / "entry.json").read_text()
    (folder / "entry.json").write_text(text.replace('"bf16"', '"int4"'))
    assert machine.start().precision == "bf16"
    assert len(machine.requests()) == 2


def test_a_folder_that_cannot_be_used_is_one_warning(machine: Machine) -> None:
    file = machine.cache.parent / "file"
    file.touch()
    started = machine.start(cache_dir=str(file / "cache"))
    assert (started.precision, started.folder) == ("bf16", None)
    warning, note = started.notes
    assert warning.startswith(f"warning: --cache-dir {file / 'cache'} cannot be used (Not a direc")
    assert note == "a note"
    (request,) = machine.requests()
    assert request["folder"] == ""
    # Without a cache there is nothing to do for a precision that was named.
    named = machine.start(cache_dir=str(file / "cache"), precision="int8")
    assert (named.precision, len(named.notes), len(machine.requests())) == ("int8", 1, 1)


def test_a_folder_where_others_may_write_is_not_trusted(machine: Machine) -> None:
    machine.cache.mkdir()
    machine.cache.chmod(0o770)
    started = machine.start()
    assert started.folder is None
    assert "(others may write there)" in started.notes[0]
    assert entries(machine) == []


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit('no memory')", "no memory"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9"),
        ("print('nothing of the kind')", "exit status 0"),
        ("import time; time.sleep(60)", "no answer within 0.5 s"),
    ],
)
def test_a_failure_is_a_warning_and_the_start_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, program: str, words: str
) -> None:
    if "sleep" in program:
        monkeypatch.setattr(module, "_TIMEOUT_S", 0.5)
    machine.answers(program)
    started = machine.start()
    assert started.precision == resolved_precision("auto", Gpus())
    assert started.folder is None
    assert started.notes == (f"warning: the network could not be prepared: {words}",)
    assert entries(machine) == []


def test_a_checkpoint_that_is_refused_ends_the_start(machine: Machine) -> None:
    refusal = {"precision": "", "measured": "", "notes": [], "refused": "NaN"}
    machine.answers(f"print({json.dumps(refusal)!r})")
    with pytest.raises(StartError, match=r"^--model: NaN$"):
        machine.start()
    assert entries(machine) == []


def test_what_has_nothing_to_prepare(machine: Machine) -> None:
    gpus = Gpus(indices=(0,), names=("H200",), precision="bf16")
    assert machine.start(gpus=gpus) == Network(precision="bf16")
    for precision in ("fp32", "fp16"):
        assert machine.start(precision=precision) == Network(precision=precision)
    assert machine.requests() == []
    assert not machine.cache.exists()


def test_two_servers_at_once_serve_the_same_entry(machine: Machine) -> None:
    machine.start()
    (folder,) = entries(machine)
    cache = CacheDirectory(machine.cache)
    with cache.unfinished() as second:
        (second / "entry.json").write_text("{}")
        entry = cache.publish(second, folder.name)
    assert entry is not None
    assert entry.precision == "bf16"
    assert entries(machine) == [folder]


def test_old_entries_are_removed(machine: Machine) -> None:
    for index in range(10):
        machine.start(network=str(index))
        for age, folder in enumerate(
            sorted(entries(machine), key=lambda each: each.stat().st_mtime)
        ):
            os.utime(folder, (age, age))
    assert len(entries(machine)) == 8
    machine.start(network="9")
    machine.start(network="0")
    assert len(machine.requests()) == 11, "the newest is there, the oldest is not"


def test_what_a_killed_server_left_is_removed(machine: Machine) -> None:
    machine.start()
    cache = CacheDirectory(machine.cache)
    with cache.unfinished() as young, cache.unfinished() as old:
        past = time.time() - 7200
        os.utime(old, (past, past))
        machine.start(network="other")
        assert young.exists()
        assert not old.exists()
