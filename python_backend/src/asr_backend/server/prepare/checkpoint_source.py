"""Where the checkpoint's files are: the demo, a folder, or the Hugging Face cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from asr_backend.checkpoint.description import Checkpoint, demo_checkpoint, load_checkpoint
from asr_backend.checkpoint.files import CheckpointError
from asr_backend.ctc.decoders import can_use_language_models
from asr_backend.ctc.ngram_files import NgramFiles, find_ngrams
from asr_backend.server.errors import StartError
from asr_backend.server.settings import Settings

# Only these are downloaded: no pickled weights, no code, no hundreds of adapters.
_FILES = ["model*.safetensors", "*.json", "language_model/*"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """The checkpoint to serve.

    Attributes:
        path: its folder; None for a hub checkpoint that is not downloaded yet.
        id: the model in RESULT.
        revision: its revision in RESULT; "local" for a folder.
        checkpoint: its description; None together with `path`.
        ngrams: the language model of beam search, if there is one.
        warnings: what somebody should mend in its files, a line each.
    """

    path: Path | None
    id: str
    revision: str
    checkpoint: Checkpoint | None = None
    ngrams: NgramFiles | None = None
    warnings: tuple[str, ...] = ()


def locate(settings: Settings, *, fetch: bool) -> Source:
    """Finds and checks the checkpoint that the settings name; with `fetch`, downloads it if needed.

    Raises:
        StartError: for a missing folder, an unreachable hub, or no CTC checkpoint.
    """
    blank_id = settings.blank_id if settings.blank_id >= 0 else None
    folder = Path(settings.model).expanduser() if settings.model else demo_checkpoint()
    try:
        if not settings.model or folder.exists():
            if settings.revision != Settings.revision:
                raise StartError(
                    f"--revision {settings.revision}: only for a hub checkpoint, not for {folder}"
                )
            _check_name(folder.absolute())
            checkpoint = load_checkpoint(folder.absolute(), blank_id=blank_id)
        elif not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", settings.model):
            raise StartError(f"--model {settings.model}: no such folder")
        elif (path := _snapshot(settings.model, settings.revision, fetch=fetch)) is None:
            return Source(path=None, id=settings.model, revision=settings.revision)
        else:
            _refuse_without_safetensors(path, settings.model)
            # The snapshot's folder is named after the commit.
            checkpoint = load_checkpoint(
                path, id=settings.model, revision=path.name, blank_id=blank_id
            )
    except CheckpointError as error:
        raise StartError(f"--model: {error}") from None
    return Source(
        path=checkpoint.path,
        id=checkpoint.id,
        revision=checkpoint.revision,
        checkpoint=checkpoint,
        ngrams=_find_language_model(checkpoint, settings.lm),
        warnings=checkpoint.warnings,
    )


def _check_name(folder: Path) -> None:
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise StartError(
            f"--model {str(folder)!a}: the library that reads the weights takes paths in UTF-8 only"
        ) from None


def _find_language_model(checkpoint: Checkpoint, lm: str) -> NgramFiles | None:
    try:
        found = find_ngrams(checkpoint, str(Path(lm).expanduser()) if lm else "")
    except CheckpointError as error:
        raise StartError(f"--{'lm' if lm else 'model'}: {error}") from None
    if lm and not can_use_language_models():
        raise StartError(
            "--lm: KenLM is not installed; in the project's folder: "
            "pip install './python_backend[beam]'"
        )
    return found


def _refuse_without_safetensors(path: Path, repository: str) -> None:
    if not any(path.glob("*.safetensors*")):
        raise StartError(
            f"--model {repository}: has no safetensors on the hub; if it has pickled weights, run "
            f"`hf download {repository} --local-dir SRC`, then `asr-server convert SRC DST`, and "
            "start with --model DST"
        )


def _snapshot(repository: str, revision: str, *, fetch: bool) -> Path | None:
    import huggingface_hub
    from huggingface_hub import errors

    def download(*, offline: bool) -> Path:
        return Path(
            huggingface_hub.snapshot_download(
                repository, revision=revision, allow_patterns=_FILES, local_files_only=offline
            )
        )

    def cached() -> Path | None:
        try:
            return download(offline=True)
        except errors.LocalEntryNotFoundError:
            return None

    named = f"--model {repository}"
    if not fetch:
        return cached()
    try:
        return download(offline=False)
    except errors.RevisionNotFoundError:
        raise StartError(f"{named}: has no revision {revision!r} on the hub") from None
    except errors.RepositoryNotFoundError:
        raise StartError(
            f"{named}: neither a folder here nor a checkpoint on the hub (or a private one: set "
            "HF_TOKEN)"
        ) from None
    except errors.LocalEntryNotFoundError:
        raise StartError(
            f"{named}: not a folder here, not in the Hugging Face cache, and the hub cannot be "
            "reached"
        ) from None
    except Exception as error:
        # The hub's client uses its cache if no server answers, but not if a connection breaks.
        if path := cached():
            return path
        raise StartError(f"{named}: {str(error).strip().splitlines()[0]}") from None
