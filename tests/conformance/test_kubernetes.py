"""The manifests, rendered by Debian's kubectl and validated against Kubernetes' own schemas."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conformance import environment

OVERLAYS = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes" / "overlays"

pytestmark = pytest.mark.conformance


@pytest.fixture(params=sorted(path.name for path in OVERLAYS.iterdir()))
def rendered(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    kubectl = shutil.which("kubectl")
    assert kubectl is not None, "apt-get install kubernetes-client"
    path = tmp_path / "rendered.yaml"
    done = subprocess.run(
        [kubectl, "kustomize", OVERLAYS / request.param],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "kind: " in done.stdout
    path.write_text(done.stdout)
    return path


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_kubernetes_takes_each_overlay(rendered: Path, version: str):
    done = subprocess.run(
        [
            environment.kubernetes_python(),
            *("-m", "kubernetes_validate", "-k", version, "--strict", rendered),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
