"""Debian's Prometheus on a free loopback port, with the tree's configuration and rules."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.local_gateway import wait_until_ready
from tools.local_server import free_ports

SCRAPE_S = 1
"""Between two scrapes, and between two evaluations of the rules, in seconds."""
_FOLDER = Path(__file__).resolve().parents[1] / "monitoring" / "prometheus"
_TIME = re.compile(r"(\d+)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MIN_TIME_S = 5
_ANSWER_S = 60.0


@contextlib.contextmanager
def local_prometheus(targets: Mapping[str, str], folder: Path, *, faster: int = 1) -> Iterator[str]:
    """Run it; yields its URL.

    Args:
        targets: HOST:PORT by job.
        folder: for its files.
        faster: the windows and waiting times of the rules are divided by this, down to 5 s.

    Raises:
        RuntimeError: there is no `prometheus`, or it did not become ready.
    """
    program = shutil.which("prometheus")
    if program is None:
        raise RuntimeError("there is no prometheus: apt-get install prometheus")
    config = yaml.safe_load((_FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s"}
    config["alerting"] = {}
    config["rule_files"] = []
    for rules in (_FOLDER / "rules").glob("*.yml"):
        copy = folder / rules.name
        copy.write_text(yaml.safe_dump(_hurried(rules, faster)), encoding="utf-8")
        config["rule_files"].append(str(copy))
    known = {job["job_name"]: job for job in config["scrape_configs"]}
    config["scrape_configs"] = [
        {**known.get(job, {}), "job_name": job, "static_configs": [{"targets": [target]}]}
        for job, target in targets.items()
    ]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [program, f"--config.file={path}", f"--storage.tsdb.path={folder}/data"]
    command.append(f"--web.listen-address=127.0.0.1:{port}")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until_ready(f"{url}/-/ready", process)
            yield url
        finally:
            process.terminate()


def series(url: str, query: str, begin_s: float, end_s: float) -> list[dict[str, Any]]:
    """The answer to a query over a time, as Prometheus writes it."""
    asked = {"query": query, "start": begin_s, "end": end_s, "step": SCRAPE_S}
    found: list[dict[str, Any]] = _get(f"{url}/api/v1/query_range?{urllib.parse.urlencode(asked)}")[
        "result"
    ]
    return found


def firing(url: str) -> set[str]:
    """The alerts that fire now."""
    found = _get(f"{url}/api/v1/alerts")["alerts"]
    return {each["labels"]["alertname"] for each in found if each["state"] == "firing"}


def _get(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=_ANSWER_S) as answer:
        return json.load(answer)["data"]


def _hurried(path: Path, faster: int) -> dict[str, Any]:
    rules: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    if faster == 1:
        return rules
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule["expr"] = re.sub(r"\[\w+\]", lambda m: f"[{_divided(m[0], faster)}]", rule["expr"])
        if "for" in rule:
            rule["for"] = _divided(rule["for"], faster)
    return rules


def _divided(time: str, faster: int) -> str:
    """A time such as `5m` or `[5m]`, divided, in whole seconds."""
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _TIME.findall(time))
    return f"{max(_MIN_TIME_S, seconds // faster)}s"
