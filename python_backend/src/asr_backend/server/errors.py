"""Errors that keep a server from starting."""

from __future__ import annotations


class StartError(Exception):
    """A wrong flag, or something missing on the machine: one line to read, exit status 2."""
