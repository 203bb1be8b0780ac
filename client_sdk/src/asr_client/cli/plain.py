"""The group of subcommands, with messages as `asr` writes them."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class PlainGroup(TyperGroup):
    """Leaves the class of an exception out of the messages about wrong values of flags.

    Some versions of typer check values with pydantic, which puts it in front of the message.
    """

    def invoke(self, ctx: Any) -> Any:
        """Call the subcommand."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise
