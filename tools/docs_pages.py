"""A hook of MkDocs: the tree's own Markdown files become pages at their own paths.

The same text, with the same links, is for readers of the tree and of the site. Files that a
page links to are copied into the site; links to folders lead to their README, or become plain words
where they have none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
STARTS = ("*.md", "docs/*.md", "*/README.md")
"""Pages that need no link from another page."""
_TARGET = re.compile(r"\]\((?!\w+:)([^)#]+)(?:#[^)]*)?\)")
"""Of a link or a picture."""
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\((?!\w+:)([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages, and what they link to."""
    starts = [path.relative_to(ROOT).as_posix() for glob in STARTS for path in ROOT.glob(glob)]
    for name in sorted(reachable(starts)):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links to folders into links to pages."""
    folder = PurePosixPath(page.file.src_uri).parent

    def turn(match: re.Match[str]) -> str:
        words, target, anchor = match[1], match[2], match[3] or ""
        if not (ROOT / folder / target).is_dir():
            return match[0]
        if (ROOT / folder / target / "README.md").exists():
            return f"[{words}]({target.rstrip('/')}/README.md{anchor})"
        return words

    return _LINK.sub(turn, markdown)


def reachable(names: list[str]) -> set[str]:
    """These files and all that their links lead to, relative to the tree's root."""
    found: set[str] = set()
    while names:
        name = names.pop()
        if name not in found and (ROOT / name).is_file():
            found.add(name)
            names += links(name) if name.endswith(".md") else ()
    return found


def links(name: str) -> Iterator[str]:
    """What a page links to or shows inside the tree; of a folder, its README."""
    for match in _TARGET.finditer((ROOT / name).read_text(encoding="utf-8")):
        target = normpath(PurePosixPath(name).parent / match[1])
        yield f"{target}/README.md" if (ROOT / target).is_dir() else target
