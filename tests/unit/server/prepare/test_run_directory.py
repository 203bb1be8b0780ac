from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from asr_backend.front.stream_options import MAX_LOOK_S
from asr_backend.server.errors import StartError
from asr_backend.server.prepare import run_directory
from asr_backend.server.prepare.checkpoint_source import Source
from asr_backend.server.prepare.identity import Identity
from asr_backend.server.prepare.run_directory import (
    RunDirectory,
    packaged_repository,
    render_configs,
)
from asr_backend.server.settings import Settings

DEMO = Source(path=Path("/demo"), id="demo", revision="1")
BARE = Identity(
    model_id="m",
    model_revision="r",
    languages=(),
    decoders=("greedy",),
    language_model="",
    content="c",
    network="",
)


def configs(
    settings: Settings,
    source: Source = DEMO,
    *,
    gpus: Sequence[int] = (),
    identity: Identity | None = None,
) -> dict:
    rendered = render_configs(
        *(packaged_repository(), settings, source),
        gpus=gpus,
        precision=settings.precision,
        identity=identity,
    )
    return {
        model: text_format.Parse(text, model_config_pb2.ModelConfig())
        for model, text in rendered.items()
    }


def parameters(config: model_config_pb2.ModelConfig) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


def test_settings_reach_the_acoustic_model():
    settings = Settings(
        device="cuda",
        instances=2,
        threads=3,
        precision="fp32",
        compile=True,
        max_batch_audio_s=17.5,
        gpu_memory_fraction=0.25,
        max_batch_size=7,
        max_queue_delay_us=11,
        max_queue_size=13,
        max_window_s=12.5,
    )
    config = configs(settings, gpus=range(4))["wav2vec2"]
    assert config.max_batch_size == 7
    assert config.dynamic_batching.max_queue_delay_microseconds == 11
    (group,) = config.instance_group
    assert (group.count, group.kind) == (2, model_config_pb2.ModelInstanceGroup.KIND_GPU)
    given = parameters(config)
    assert given["device"] == "cuda"
    assert given["precision"] == "fp32"
    assert given["compile"] == "1"
    assert given["max_batch_audio_s"] == "17.5"
    assert given["gpu_memory_fraction"] == "0.25"
    assert given["threads"] == "3"
    assert given["instances"] == "2"
    assert given["max_window_s"] == "12.5"


@pytest.mark.parametrize("settings", [Settings(), Settings(model="me/mine", lm="some.arpa")])
@pytest.mark.parametrize("identity", [None, BARE])
def test_no_parameter_is_empty(settings, identity):
    """pytriton's client cannot read an empty one."""
    for name, config in configs(settings, identity=identity).items():
        assert all(parameters(config).values())
        packaged = (packaged_repository() / name / "config.pbtxt").read_text()
        assert all(parameters(text_format.Parse(packaged, model_config_pb2.ModelConfig())).values())


def test_the_demo_is_served_where_no_checkpoint_is_named():
    for config in configs(Settings()).values():
        assert not {"model", "model_id", "model_revision", "lm"} & parameters(config).keys()


@pytest.mark.parametrize(("gpus", "delay_us"), [(0, 0), (1, 2000)])
def test_a_window_waits_for_others_on_a_gpu_alone(gpus, delay_us):
    batching = configs(Settings(), gpus=range(gpus))["wav2vec2"].dynamic_batching
    assert batching.max_queue_delay_microseconds == delay_us


def test_settings_reach_the_front():
    settings = Settings(
        frontends=3,
        instances=2,
        max_queue_size=13,
        max_audio_s=123456.5,
        max_audio_bytes=99,
        max_audio_samples=10**12,
        max_channels_audio_s=123456.5,
        max_beam_work=123456789,
        max_batch_size=7,
    )
    packaged, config = (
        configs(Settings())["transcribe"],
        configs(settings, gpus=range(4))["transcribe"],
    )
    assert config.max_batch_size == packaged.max_batch_size
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 13
    (group,) = config.instance_group
    assert (group.count, group.kind) == (3, model_config_pb2.ModelInstanceGroup.KIND_CPU)
    given = parameters(config)
    assert given["frontends"] == "3"
    assert float(given["long_audio_s"]) == 7 * 20 * 2 * 4
    assert float(given["max_audio_s"]) == 123456.5
    assert given["max_audio_bytes"] == "99"
    assert given["max_audio_samples"] == "1000000000000"
    assert float(given["max_channels_audio_s"]) == 123456.5
    assert float(given["max_beam_work"]) == 123456789


def test_settings_reach_the_front_of_live_audio():
    settings = Settings(
        frontends=1, stream_frontends=3, max_queue_size=13, max_audio_s=5, max_beam_work=1000
    )
    config = configs(settings)["transcribe_stream"]
    (group,) = config.instance_group
    assert (group.count, group.kind) == (3, model_config_pb2.ModelInstanceGroup.KIND_CPU)
    assert config.dynamic_batching.default_queue_policy.max_queue_size == 13
    assert not config.HasField("sequence_batching")
    given = parameters(config)
    assert given["frontends"] == "3"
    assert float(given["max_beam_work"]) == 1000
    # The longest look, whatever the longest recording is.
    assert float(given["max_audio_s"]) == MAX_LOOK_S


def test_without_fronts_the_model_of_live_audio_is_left_out():
    assert set(configs(Settings())) == {"transcribe", "transcribe_stream", "wav2vec2"}
    assert set(configs(Settings(stream_frontends=0))) == {"transcribe", "wav2vec2"}


@pytest.mark.parametrize(
    ("given", "gpus", "seconds"),
    [
        ({}, 0, 20),
        ({"instances": 4}, 0, 80),
        ({"max_batch_audio_s": 60}, 0, 60),
        ({"max_batch_audio_s": 10}, 0, 20),
        ({}, 1, 320),
        ({"instances": 2, "max_window_s": 40}, 2, 1280),
    ],
)
def test_long_recordings_have_a_forward_s_audio_in_flight(given, gpus, seconds):
    front = configs(Settings(**given), gpus=range(gpus))["transcribe"]
    assert float(parameters(front)["long_audio_s"]) == seconds


@pytest.mark.parametrize(
    ("gpus", "kind", "device"),
    [((), "KIND_CPU", "cpu"), ((0,), "KIND_GPU", "cuda"), ((0, 2), "KIND_GPU", "cuda")],
)
def test_instances_are_on_the_gpus_that_were_found(gpus, kind, device):
    config = configs(Settings(instances=3), gpus=gpus)["wav2vec2"]
    (group,) = config.instance_group
    assert model_config_pb2.ModelInstanceGroup.Kind.Name(group.kind) == kind
    assert (group.count, tuple(group.gpus)) == (3, gpus)
    assert parameters(config)["device"] == device


def test_a_checkpoint_of_ones_own_is_named_to_both_models():
    source = Source(path=Path("/models/mine"), id="me/mine", revision="abc")
    for config in configs(Settings(model="me/mine"), source).values():
        given = parameters(config)
        assert given["model"] == "/models/mine"
        assert (given["model_id"], given["model_revision"]) == ("me/mine", "abc")


def test_what_the_model_is_reaches_the_front():
    identity = dataclasses.replace(
        BARE,
        languages=("eng", "deu"),
        decoders=("greedy", "beam"),
        language_model="four.arpa",
    )
    settings = Settings(precision="bf16")
    given = parameters(configs(settings, identity=identity)["transcribe"])
    assert (
        given.items()
        >= {
            "model_id": "m",
            "model_revision": "r",
            "precision": "bf16",
            "languages": "eng,deu",
            "decoders": "greedy,beam",
            "language_model": "four.arpa",
        }.items()
    )
    assert given["fingerprint"] == identity.parameters("bf16")["fingerprint"]
    assert given["fingerprint"] != identity.parameters("fp32")["fingerprint"]


def test_the_packaged_defaults_are_the_flags_defaults():
    for model, config in configs(Settings(frontends=2, threads=1)).items():
        text = (packaged_repository() / model / "config.pbtxt").read_text()
        packaged = text_format.Parse(text, model_config_pb2.ModelConfig())
        for one in (config, packaged):
            one.parameters["threads"].string_value = "1"
            if model == "wav2vec2":
                # A plain Triton chooses for itself.
                one.parameters["device"].string_value = "auto"
                one.instance_group[0].kind = model_config_pb2.ModelInstanceGroup.KIND_AUTO
        assert config == packaged


def test_the_private_copy_is_made_and_removed(tmp_path):
    with RunDirectory(str(tmp_path / "under")) as run:
        run.copy_models(packaged_repository(), {"wav2vec2": "name: 'x'", "transcribe": ""})
        assert (run.repository / "wav2vec2" / "config.pbtxt").read_text() == "name: 'x'"
        assert (run.repository / "transcribe" / "1" / "model.py").is_file()
        # Nothing that Python writes there may look like a change of the model.
        assert (run.repository / "transcribe" / "1" / "__pycache__").is_file()
        assert list(run.empty.iterdir()) == []

        before = (run.repository / "wav2vec2" / "1" / "model.py").stat().st_mtime_ns
        run.touch("wav2vec2")
        assert (run.repository / "wav2vec2" / "1" / "model.py").stat().st_mtime_ns > before
        run.withdraw("wav2vec2")
        assert [path.name for path in run.repository.iterdir()] == ["transcribe"]
        run.restore("wav2vec2")
        assert sorted(path.name for path in run.repository.iterdir()) == ["transcribe", "wav2vec2"]

        region = Path("/dev/shm") / f"{run.region_prefix}test"
        region.touch()
    assert not region.exists()
    assert list((tmp_path / "under").iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match=r"--run-dir .*file/under: Not a directory"):
        RunDirectory(str(tmp_path / "file" / "under"))


def test_a_place_that_has_no_room_is_named(monkeypatch, tmp_path):
    def write_text(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with RunDirectory(str(tmp_path)) as run:
        monkeypatch.setattr(Path, "write_text", write_text)
        with pytest.raises(StartError) as refused:
            run.copy_models(packaged_repository(), {"wav2vec2": ""})
    assert str(refused.value) == f"--run-dir {tmp_path}: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_a_home_folder_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    with RunDirectory("~/run") as run:
        assert run.path.parent == tmp_path / "run"


@pytest.mark.parametrize("name", ["rün", "a b", 'q"', "$(touch x)", "l\udcff", "new\nline"])
def test_a_folder_from_which_triton_cannot_start_processes_is_refused(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(StartError, match=r"^--run-dir '.*': Triton can start processes only") as e:
        RunDirectory(str(tmp_path / name))
    assert "\n" not in str(e.value)
    assert not (tmp_path / name).exists()


def test_what_killed_servers_left_is_removed_and_nothing_else(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(run_directory, "SHARED_MEMORY", shared)
    dead, living, other = (RunDirectory(str(tmp_path)) for _ in range(3))
    regions = [shared / f"{run.region_prefix}region" for run in (dead, living, other)]
    for region in [*regions, shared / "another"]:
        region.touch()
    (other.path / "regions").write_text("")
    for run in (dead, other):
        # The kernel does so when the process is killed.
        os.close(run._lock)
    with RunDirectory(str(tmp_path)):
        assert not dead.path.exists()
        assert living.path.exists()
        assert other.path.exists()
        assert sorted(shared.iterdir()) == sorted([*regions[1:], shared / "another"])
    with living:
        pass
    other.remove()
