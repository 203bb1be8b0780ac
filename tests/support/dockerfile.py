"""A Dockerfile as data: stages with their instructions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Stage:
    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        return [words for key, words in self.instructions if key == keyword]

    def last(self, keyword: str) -> str:
        return self.all(keyword)[-1]

    def environment(self) -> dict[str, str]:
        return dict(re.findall(r"(\w+)=(\S+)", " ".join(self.all("ENV"))))

    def sources(self) -> list[str]:
        """Paths of the build context that the stage copies or mounts."""
        copied = [words.split()[0] for words in self.all("COPY") if "--from=" not in words]
        mounts = re.findall(r"--mount=(\S+)", " ".join(self.all("RUN")))
        options = [dict(o.partition("=")[::2] for o in mount.split(",")) for mount in mounts]
        return copied + [o["source"] for o in options if o["type"] == "bind" and "from" not in o]


def read_stages(path: Path) -> list[Stage]:
    """The stages in order; an ARG before the first FROM is filled in with its default."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    text = "\n".join(lines).replace("\\\n", " ")
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(str.strip, text.splitlines()):
        keyword, _, words = line.partition(" ")
        words = " ".join(words.split())
        if keyword == "FROM":
            base, _, name = words.partition(" AS ")
            for key, value in arguments.items():
                base = base.replace(f"${{{key}}}", value)
            stages.append(Stage(name=name, base=base))
        elif stages:
            stages[-1].instructions.append((keyword, words))
        else:
            assert keyword == "ARG"
            key, _, value = words.partition("=")
            arguments[key] = value
    return stages
