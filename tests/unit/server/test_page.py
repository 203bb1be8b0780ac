"""docs/server.md quotes the log lines as the code has them."""

import ast
import re
from pathlib import Path

import asr_backend

PAGE = Path(__file__).parents[3] / "docs" / "server.md"
SOURCES = Path(asr_backend.__file__).parent.rglob("*.py")


def texts() -> list[str]:
    """Every string of the code, … in place of what is filled in."""
    found = []
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            if isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else "…" for part in node.values
                ]
                found.append("".join(parts))
    return found


def test_every_message_on_the_page_is_one_of_the_code():
    table = PAGE.read_text(encoding="utf-8").split("\n## Messages\n")[1]
    quoted = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert len(quoted) > 6
    # Names of files are filled in too.
    known = [text.replace("warning: …", "warning: /dev/shm") for text in texts()]
    for message in quoted:
        parts = [part.strip() for part in message.split("…") if part.strip()]
        assert any(all(part in text for part in parts) for text in known), message
