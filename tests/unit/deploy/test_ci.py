"""What continuous integration runs."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
RUN = ROOT / ".ci" / "run"


def test_it_runs_the_three_targets_in_order():
    assert os.access(RUN, os.X_OK)
    script = RUN.read_text(encoding="utf-8")
    targets = re.findall(r"^make ([\w-]+)$", script, re.MULTILINE)
    assert targets == ["test", "load", "conformance"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    assert "\nmake test\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_debians_programs_are_there_before_they_are_needed():
    script = RUN.read_text(encoding="utf-8")
    packages = "chromium prometheus prometheus-alertmanager kubernetes-client\n"
    assert (
        script.index("apt-get install") < script.index(packages) < script.index("make conformance")
    )
