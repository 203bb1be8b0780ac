import re
from pathlib import Path

from load_tests.__main__ import make_parser

README = Path(__file__).parents[3] / "load_tests" / "README.md"


def test_readme_lists_every_flag_with_its_default():
    rows = re.findall(r"^\| `(--[a-z0-9-]+)[^`]*` \|([^|]*)\|", README.read_text(), re.MULTILINE)
    shown = {flag: default.strip() for flag, default in rows}
    flags = vars(make_parser().parse_args([]))
    assert shown == {
        f"--{name.replace('_', '-')}": _written(value) for name, value in flags.items()
    }


def _written(default: float | None) -> str:
    if default is None:
        return ""
    return "off" if default is False else f"{default:g}"


def test_readme_lists_every_file():
    rows = re.findall(r"^\| (`\w+\.py`[^|]*) \|", README.read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+\.py)`", row)}
    assert named == {path.name for path in README.parent.glob("*.py")} - {"__init__.py"}
