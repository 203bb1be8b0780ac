"""Paths in the parameters of config.pbtxt.

A model's process reads file names as ASCII, and a name need not be UTF-8. A path with other letters
is written as a `file://` URL.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

_SCHEME = "file://"
_PLAIN = re.compile(r"[\w/.,:;=@+~%()#&!$ -]*", re.ASCII)


def encode_path(path: Path) -> str:
    """An absolute path as the text of a parameter: unchanged where Triton keeps it as it is."""
    if _PLAIN.fullmatch(str(path)):
        return str(path)
    return _SCHEME + quote_from_bytes(os.fsencode(path))


def decode_path(text: str) -> Path:
    """The path in the text of a parameter."""
    if text.startswith(_SCHEME):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix(_SCHEME))))
    return Path(text)
