import re
from pathlib import Path

import pytest

import load_tests.__main__
import load_tests.sweep.__main__

FOLDER = Path(__file__).parents[3] / "load_tests"
COMMANDS = {
    FOLDER / "README.md": load_tests.__main__,
    FOLDER / "sweep" / "README.md": load_tests.sweep.__main__,
}
of_each_readme = pytest.mark.parametrize("readme", COMMANDS, ids=lambda path: path.parent.name)


@of_each_readme
def test_readme_lists_every_flag_with_its_default(readme):
    rows = re.findall(r"^\| `(--[a-z0-9-]+)[^`]*` \|([^|]*)\|", readme.read_text(), re.MULTILINE)
    shown = {flag: default.strip() for flag, default in rows}
    flags = vars(COMMANDS[readme].command_line().parse_args([]))
    assert shown == {
        f"--{name.replace('_', '-')}": _written(value) for name, value in flags.items()
    }


def _written(default):
    if isinstance(default, list):
        return ",".join(map(_written, default))
    if default is None or default is False:
        return "" if default is None else "off"
    return f"{default:g}" if isinstance(default, int | float) else str(default)


@of_each_readme
def test_readme_lists_every_file(readme):
    rows = re.findall(r"^\| (`[\w/]+\.py`[^|]*) \|", readme.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([\w/]+\.py)`", row)}
    paths = [path.relative_to(readme.parent) for path in readme.parent.glob("**/*.py")]
    # The sweep has a page of its own, the capacity model docs/capacity.md.
    paths = [path for path in paths if path.parts[0] not in ("sweep", "capacity")]
    assert named == {str(path) for path in paths if path.name != "__init__.py"}
