import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from asr_backend.server import settings
from asr_gateway import settings as gateway_settings
from asr_gateway.cli import check_exposure
from asr_gateway.console import StartError
from tests.support.dockerfile import Stage, read_stages

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
STAGES = {stage.name: stage for stage in read_stages(DOCKERFILE)}
IMAGES = [STAGES["ngc"], STAGES["pytorch-2.6"]]

each_image = pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)


def test_hadolint_has_nothing_to_say():
    program = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([program, DOCKERFILE], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_targets_and_their_bases():
    assert list(STAGES)[-1] == "ngc", "the default target is the last stage"
    assert STAGES["ngc"].base == "nvcr.io/nvidia/tritonserver:26.07-py3"
    assert STAGES["gateway"].base == "python:3.12-slim-bookworm"
    assert STAGES["pytorch-2.6"].base == "pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime"


@each_image
def test_image_runs_asr_server_as_an_ordinary_user(image: Stage):
    uid, gid = image.last("USER").split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert f"useradd --uid {uid} --gid {gid} " in image.last("RUN")
    assert image.last("ENTRYPOINT") == '["asr-server"]'
    assert image.last("HEALTHCHECK").endswith('CMD ["python", "/opt/asr/healthcheck.py"]')


def test_images_differ_only_in_what_they_install():
    ngc, pytorch = IMAGES
    for keyword in ("ENV", "COPY", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"):
        assert ngc.all(keyword) == pytorch.all(keyword)


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_what_the_build_copies_exists_and_is_not_ignored(stage: Stage):
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    for source in stage.sources():
        assert (ROOT / source).exists()
        assert f"!{source}" in rules


@each_image
def test_variables_are_ones_the_server_reads(image: Stage):
    ours = {name for name in image.environment() if name.startswith("ASR_")}
    assert ours <= set(map(settings.env_name, settings.FIELDS))
    assert settings.parse([], image.environment()).settings == settings.Settings(
        host="0.0.0.0", admin_host="0.0.0.0"
    )


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_no_secret_enters_a_layer(stage: Stage):
    text = " ".join(words for _, words in stage.instructions)
    assert not re.search(r"token|secret|password|credential|_key", text, re.IGNORECASE)


@each_image
def test_every_requirement_is_pinned(image: Stage):
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "python_backend" / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["beam"], *extras["triton"]]
    assert {re.split(r"[^\w-]", line)[0] for line in wanted} <= pins.keys()
    assert "requirements.txt" in image.sources()
    assert "--constraint " in image.last("RUN")


def test_only_the_image_without_a_triton_installs_one():
    assert "[beam,openvino,triton]" in STAGES["pytorch-2.6"].last("RUN")
    assert "[beam]" in STAGES["ngc"].last("RUN")


GATEWAY = STAGES["gateway"]


def test_the_gateways_image_runs_as_an_ordinary_user_that_owns_its_store():
    uid, gid = GATEWAY.last("USER").split(":")
    assert int(uid) > 0
    install = GATEWAY.last("RUN")
    assert f"useradd --uid {uid} --gid {gid} " in install
    environment = GATEWAY.environment()
    folder = environment["ASR_GATEWAY_STORE"].removeprefix("sqlite:///").rpartition("/")[0]
    assert f"install -d -m 0700 -o asr -g asr {folder}" in install
    assert GATEWAY.last("ENTRYPOINT") == '["asr-gateway"]'


def test_the_gateways_image_asks_who_may_call():
    environment = {"ASR_GATEWAY_SERVER": "asr-server:8001", **GATEWAY.environment()}
    parsed = gateway_settings.parse([], environment).settings
    assert GATEWAY.last("EXPOSE") == str(parsed.http_port)
    with pytest.raises(StartError, match="--no-keys"):
        check_exposure(parsed)


def test_the_gateways_requirements_are_pinned():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    project = tomllib.loads((ROOT / "gateway" / "pyproject.toml").read_text())["project"]
    ours = {"asr-client"}
    names = {re.split(r"[^\w-]", line)[0] for line in project["dependencies"]} - ours
    assert names <= pins.keys()
    assert "--constraint /requirements.txt" in GATEWAY.last("RUN")
    assert "torch" not in names
