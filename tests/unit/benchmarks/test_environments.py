import subprocess
from pathlib import Path

import pytest

from benchmarks.environments import NotInstalled, python_with


def test_an_environment_sees_torch_and_this_tree(tmp_path: Path):
    python = python_with((), folder=tmp_path)
    assert python == python_with((), folder=tmp_path)
    names = "torch", "benchmarks"
    code = f"from importlib.util import find_spec; print(*(bool(find_spec(n)) for n in {names}))"
    done = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "True"]


def test_what_pip_says_is_kept(tmp_path: Path):
    with pytest.raises(NotInstalled, match="no-such-file"):
        python_with((str(tmp_path / "no-such-file.whl"),), folder=tmp_path)
