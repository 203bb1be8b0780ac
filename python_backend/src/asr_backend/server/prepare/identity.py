"""Which model answers: what callers are told of it, and a hash of all that can change an answer.

The files are hashed once, before Triton starts; its processes get the result as parameters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import asr_backend
from asr_backend.acoustic.precision import cpu_has_bf16
from asr_backend.checkpoint.description import Checkpoint, demo_checkpoint
from asr_backend.checkpoint.files import sha256_of
from asr_backend.ctc.decoders import why_no_search
from asr_backend.ctc.ngram_files import NgramFiles
from asr_backend.ctc.search.library import LIBRARY
from asr_backend.server.errors import StartError
from asr_backend.server.prepare.devices import Gpus
from asr_backend.server.settings import Settings

_WEIGHTS = ".safetensors"
_SUFFIXES = (_WEIGHTS, ".json", ".txt", ".model")
"""Of a checkpoint's files: weights and adapters, configuration, vocabulary, tokenizer."""
_LIBRARIES = (
    *("numpy", "av", "torch", "transformers", "openvino"),
    *("ufal.kenlm", "kenlm"),
)
"""Packages whose versions can change an answer; one that is missing counts too."""
_HASHERS = 4
_DIGITS = 32
_REVISION_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a server says of its model, in the parameters of `transcribe` and in RESULT.

    Attributes:
        model_id: the checkpoint.
        model_revision: its version; of a folder, the first digits of a hash of its weights.
        languages: those that it has adapters for, its default first; empty without adapters.
        decoders: those that callers may choose.
        language_model: the file of beam search's language model; "" for none.
        content: a hash of everything but the precision that can change an answer.
        network: a hash of what the network is computed from: weights, libraries, code.
    """

    model_id: str
    model_revision: str
    languages: tuple[str, ...]
    decoders: tuple[str, ...]
    language_model: str
    content: str
    network: str

    def parameters(self, precision: str) -> dict[str, str]:
        """The parameters of `transcribe` on a server that computes in this precision.

        Those that have nothing to say are "".
        """
        return {
            "model_id": self.model_id,
            "model_revision": self.model_revision,
            "precision": precision,
            "languages": ",".join(self.languages),
            "decoders": ",".join(self.decoders),
            "language_model": self.language_model,
            "fingerprint": _digest({"content": self.content, "precision": precision})[:_DIGITS],
        }


def identify(
    checkpoint: Checkpoint, ngrams: NgramFiles | None, settings: Settings, gpus: Gpus
) -> Identity:
    """Hash the files of the checkpoint and the language model, and everything else that matters.

    Args:
        checkpoint: to be served.
        ngrams: its language model.
        settings: of asr-server.
        gpus: what wav2vec2 runs on.

    Raises:
        StartError: a file cannot be read.
    """
    has_search = not why_no_search(ngrams)
    ngrams = ngrams if has_search else None
    files = {
        path.name: path
        for path in sorted(checkpoint.path.iterdir())
        if path.suffix in _SUFFIXES and path.is_file()
    }
    hashes = _hash_files([*files.values(), *_files_of(ngrams)])
    by_name = {name: hashes[path] for name, path in files.items()}
    weights = {name: value for name, value in by_name.items() if name.endswith(_WEIGHTS)}
    is_folder = checkpoint.revision == "local"
    made_by = {
        "checkpoint": by_name,
        "blank_id": checkpoint.blank_id,
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "code": _code(),
    }
    return Identity(
        model_id=checkpoint.id,
        model_revision=_digest(weights)[:_REVISION_DIGITS] if is_folder else checkpoint.revision,
        languages=_languages(checkpoint),
        decoders=("greedy", "beam") if has_search else ("greedy",),
        language_model=ngrams.model.name if ngrams else "",
        content=_digest(
            {
                **made_by,
                "language_model": _language_model(ngrams, hashes),
                "max_window_s": settings.max_window_s,
                "compile": settings.compile,
                # OpenVINO computes otherwise on a CPU without bf16, and GPUs have kernels each.
                "devices": sorted(set(gpus.names)) or [f"CPU, bf16: {cpu_has_bf16()}"],
            }
        ),
        network=_digest(made_by),
    )


def _languages(checkpoint: Checkpoint) -> tuple[str, ...]:
    own = checkpoint.language
    if own is None:
        return ()
    return (own, *sorted(language for language in checkpoint.languages if language != own))


def _files_of(ngrams: NgramFiles | None) -> list[Path]:
    return [path for path in (ngrams.model, ngrams.unigrams) if path] if ngrams else []


def _language_model(
    ngrams: NgramFiles | None, hashes: Mapping[Path, str]
) -> dict[str, object] | None:
    """Its files by their hashes, and its weights."""
    if ngrams is None:
        return None
    return {
        key: hashes[value] if isinstance(value, Path) else value
        for key, value in vars(ngrams).items()
    }


def _code() -> str:
    """A hash of the sources, and of the search in C, that answers depend on."""
    package = Path(asr_backend.__file__).parent
    left_out = (package / "server", demo_checkpoint(), package / "model_repository")
    sources = [
        path
        for path in sorted([*package.rglob("*.py"), LIBRARY])
        if not any(path.is_relative_to(folder) for folder in left_out)
    ]
    return _digest(
        {str(path.relative_to(package)): digest for path, digest in _hash_files(sources).items()}
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _hash_files(paths: Iterable[Path]) -> dict[Path, str]:
    """Sha256 of each file. Hashing releases the interpreter lock, so threads are faster."""
    paths = list(paths)
    with ThreadPoolExecutor(_HASHERS, thread_name_prefix="hash") as pool:
        return dict(zip(paths, pool.map(_hash_file, paths), strict=True))


def _hash_file(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise StartError(f"{path}: cannot be read: {error.strerror}") from None


def _digest(value: object) -> str:
    """Sha256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
