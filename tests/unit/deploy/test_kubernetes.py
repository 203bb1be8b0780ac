"""The Kubernetes manifests, read as data; tests/conformance renders and validates them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from asr_backend.server import settings
from asr_gateway import settings as gateway_settings
from tests.support.dockerfile import read_stages

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
DEFAULTS = settings.Settings()
OF_TRITON = {"nv_inference_request_success"}
"""tests/integration/test_transcribe.py sees it on a real server's page."""
METRIC = re.compile(r"\b(?:asr|nv)_[a-z0-9_]+\b")


def documents() -> list[dict[str, Any]]:
    """All manifests and patches."""
    files = sorted(FOLDER.rglob("*.yaml"))
    assert len(files) > 15
    return [each for file in files for each in yaml.safe_load_all(file.read_text())]


def of_kind(kind: str, name: str = "") -> list[dict[str, Any]]:
    """The documents of a kind."""
    return [
        each
        for each in documents()
        if each.get("kind") == kind and name in ("", each["metadata"]["name"])
    ]


def containers(name: str) -> list[dict[str, Any]]:
    """A Deployment's container, once for the base and once for each patch."""
    deployments = of_kind("Deployment", name)
    return [one for each in deployments for one in each["spec"]["template"]["spec"]["containers"]]


def pod(name: str) -> dict[str, Any]:
    """The pod of a Deployment before patches."""
    (whole,) = [each for each in of_kind("Deployment", name) if "selector" in each["spec"]]
    found: dict[str, Any] = whole["spec"]["template"]["spec"]
    return found


def seconds_of_pre_stop(container: dict[str, Any]) -> int:
    program, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert program == "sleep"
    return int(seconds)


def test_the_server_reads_each_variable():
    parts = containers("asr-server")
    assert len(parts) == 4, "base, auth, cpu, gpu"
    for part in parts:
        environment = {each["name"]: each["value"] for each in part["env"]}
        assert environment.keys() <= set(map(settings.env_name, settings.FIELDS))
        settings.parse([], environment)


def test_the_server_s_ports_and_probes():
    (container,) = pod("asr-server")["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {
        "grpc": DEFAULTS.grpc_port,
        "metrics": DEFAULTS.metrics_port,
        "health": DEFAULTS.health_port,
    }
    for name, port in ports.items():
        assert environment[f"ASR_{name.upper()}_PORT"] == str(port)
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness")}
    assert all(probe == {"path": "/readyz", "port": "health"} for probe in probes.values())
    assert container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": "health"}
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] == 15 * 60, "as compose has it"


@pytest.mark.parametrize("name", ["asr-server", "asr-gateway"])
def test_a_stop_has_time_for_the_calls_in_flight(name):
    spec = pod(name)
    (container,) = spec["containers"]
    exit_timeout_s = {
        "asr-server": DEFAULTS.exit_timeout_s,
        "asr-gateway": gateway_settings.Settings().exit_timeout_s,
    }[name]
    drain_s = seconds_of_pre_stop(container) + exit_timeout_s
    assert spec["terminationGracePeriodSeconds"] > drain_s + 10


@pytest.mark.parametrize("name", ["asr-server", "asr-gateway"])
def test_it_runs_without_rights_and_writes_where_it_may(name):
    spec = pod(name)
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["automountServiceAccountToken"] is False
    # Else Kubernetes sets ASR_GATEWAY_PORT and others for the gateway's Service.
    assert spec["enableServiceLinks"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    assert "/tmp" in {each["mountPath"] for each in container["volumeMounts"]}
    claims = [
        each["persistentVolumeClaim"] for each in spec["volumes"] if "persistentVolumeClaim" in each
    ]
    assert claims
    assert all(of_kind("PersistentVolumeClaim", claim["claimName"]) for claim in claims)


def test_the_server_runs_as_the_image_means_it():
    spec = pod("asr-server")
    stage = read_stages(ROOT / "deploy" / "Dockerfile")[-1]
    user = spec["securityContext"]
    assert stage.last("USER") == f"{user['runAsUser']}:{user['runAsGroup']}"
    mounts = {each["mountPath"]: each["name"] for each in spec["containers"][0]["volumeMounts"]}
    assert "/home/asr/.cache" in mounts
    assert DEFAULTS.cache_dir.startswith("~/.cache/"), "so the claim has it"
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    targets = {stage.name for stage in read_stages(ROOT / "deploy" / "Dockerfile")}
    tags = [spec["containers"][0]["image"].partition(":")[2]]
    tags += [image["newTag"] for each in documents() for image in each.get("images", [])]
    assert set(tags) <= targets


def test_the_gateway_takes_its_flags():
    (container,) = containers("asr-gateway")
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in container["args"])
    parsed = gateway_settings.parse(container["args"], {}).settings
    assert parsed.host == "0.0.0.0"
    (port,) = [port["containerPort"] for port in container["ports"]]
    assert flags["http-port"] == str(port)
    (service,) = of_kind("Service", "asr-server")
    assert flags["server"] == f"asr-server:{service['spec']['ports'][0]['port']}"
    mounts = [each["mountPath"] for each in container["volumeMounts"]]
    for flag in ("server-token-file", "server-ca", "keys"):
        assert str(Path(flags[flag]).parent) in mounts
    assert str(Path(flags["store"].removeprefix("sqlite:///")).parent) in mounts


def test_the_network_lets_the_gateway_in_and_prometheus_alone_to_the_metrics():
    (server,) = of_kind("NetworkPolicy", "asr-server")
    callers, prometheus = server["spec"]["ingress"]
    labels = callers["from"][0]["podSelector"]["matchLabels"]
    (gateway,) = of_kind("Deployment", "asr-gateway")
    assert labels.items() <= gateway["spec"]["template"]["metadata"]["labels"].items()
    assert [port["port"] for port in callers["ports"]] == ["grpc"]
    assert len(prometheus["from"]) == 1
    assert [port["port"] for port in prometheus["ports"]] == ["metrics", "health"]


def test_the_autoscaler_asks_for_metrics_that_the_adapter_makes_of_ours():
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    (adapter,) = [each for each in documents() if "rules" in each and "kind" not in each]
    made = {rule["name"]["as"] for rule in adapter["rules"]}
    assert {each["pods"]["metric"]["name"] for each in scaler["spec"]["metrics"]} == made
    page = (ROOT / "docs" / "metrics.md").read_text()
    for rule in adapter["rules"]:
        for metric in METRIC.findall(rule["seriesQuery"] + rule["metricsQuery"]):
            family = re.sub(r"_(bucket|count|sum)$", "", metric)
            assert family in page or metric in page or metric in OF_TRITON, metric
    assert scaler["spec"]["scaleTargetRef"]["name"] == "asr-server"
    assert "replicas" not in of_kind("Deployment", "asr-server")[0]["spec"]


def test_the_page_names_what_is_there():
    page = (FOLDER / "README.md").read_text()
    for overlay in (FOLDER / "overlays").iterdir():
        assert f"overlays/{overlay.name}" in page
