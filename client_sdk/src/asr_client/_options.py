"""The options of one recording: written once, taken by every method that transcribes."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar

from asr_client._types import Channel, Decoder, Encoding, Timestamps

_MethodT = TypeVar("_MethodT", bound=Callable[..., Any])


class TranscribeOptions(TypedDict, total=False):
    """What the audio is, and what the transcript holds."""

    sample_rate: int | None
    """In Hz; needed for arrays and raw samples, refused for audio files."""
    channels: int | None
    """Needed for raw samples, refused for everything else."""
    encoding: Encoding
    """By default "container", an audio file; "pcm_s16le" or "pcm_f32le" says that bytes or a file
    are raw samples, channels interleaved."""
    timestamps: Timestamps
    """Which times: "none", "word" (the default), or "char" for words and characters."""
    channel: Channel
    """By default "mix", the mean of all channels; otherwise a channel's index, or "separate"."""
    decoder: Decoder
    """By default "greedy"; "beam" is the other one."""
    beam_width: int | None
    """Texts that the beam decoder keeps at each frame, 1 to 1000; 100 by default."""
    hotwords: Sequence[str] | None
    """Words that the beam decoder prefers, at most 100 of at most 200 letters."""
    hotword_weight: float | None
    """Added to a text's log-probability for each hot word, 0 to 100; 10 by default."""
    language: str | None
    """For checkpoints with language adapters."""


DEFAULTS: TranscribeOptions = {
    "encoding": "container",
    "timestamps": "word",
    "channel": "mix",
    "decoder": "greedy",
}
"""All other options are None, which leaves them to the server."""

NAMES = tuple(TranscribeOptions.__annotations__)
_PLACE = "    **options: as `TranscribeOptions` lists them."


def with_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a call.

    Raises:
        TypeError: there is no option of that name. Python cannot say so itself: a method that
            takes `**options` takes any name.
    """
    if unknown := options.keys() - set(NAMES):
        raise TypeError(
            f"got an unexpected keyword argument {min(unknown)!r}; "
            f"the options are {', '.join(NAMES)}"
        )
    return {**dict.fromkeys(NAMES), **DEFAULTS, **options}


def takes_options(method: _MethodT) -> _MethodT:
    """Show the options one by one in the signature and the help of a method with `**options`.

    Type checkers, editors and the reference read `Unpack[TranscribeOptions]` instead.
    """
    signature = inspect.signature(method)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=DEFAULTS.get(name),
            annotation=annotation.__forward_arg__,
        )
        for name, annotation in TranscribeOptions.__annotations__.items()
    ]
    method.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
    method.__doc__ = inspect.cleandoc(method.__doc__ or "").replace(_PLACE, _described())
    return method


@functools.cache
def _described() -> str:
    """The texts below the fields as lines of an `Args` section."""
    try:
        (kind,) = ast.parse(inspect.getsource(TranscribeOptions)).body
    except OSError:
        # Installed without sources, such as compiled or in a zip file.
        return _PLACE
    assert isinstance(kind, ast.ClassDef)
    lines = []
    for field, text in itertools.pairwise(kind.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(words))):
                entry = f"{name}: {inspect.cleandoc(words)}"
                lines.append(
                    textwrap.fill(entry, 96, initial_indent=4 * " ", subsequent_indent=8 * " ")
                )
    return "\n".join(lines)
