"""The command `asr`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; it needs the extra `cli`, the library does not."""
    try:
        # Its import adds the command.
        import asr_client.cli.stream  # noqa: F401
        from asr_client.cli.commands import app
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("typer", "rich"):
            raise
        # No registry has the package; the wheel has the same extra.
        print(
            f"asr: {package} is not installed; in the project's folder: "
            "pip install './client_sdk[cli]'",
            file=sys.stderr,
        )
        sys.exit(2)
    from asr_client.cli.screen import show_any_letter

    show_any_letter()
    app(prog_name="asr")
