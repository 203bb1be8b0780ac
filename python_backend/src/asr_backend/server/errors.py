"""Why a server cannot start."""

from __future__ import annotations


class StartError(Exception):
    """A wrong flag or something missing on the machine: one line for a person, exit status 2."""
