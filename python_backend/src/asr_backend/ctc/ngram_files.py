"""Finds and checks a KenLM language model on disk, without reading all of it.

A checkpoint's folder may have one in the layout of Hugging Face's Wav2Vec2ProcessorWithLM:
`alphabet.json`, and `language_model/` with the model, `attrs.json` and `unigrams.txt`.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asr_backend.checkpoint.description import Checkpoint
from asr_backend.checkpoint.files import LANGUAGE_MODEL, CheckpointError

_SUFFIXES = (".arpa", ".bin", ".binary")
_BINARY_MAGIC = b"mmap lm http://kheafield.com/code"
_ARPA_MAGIC = b"\\data\\"
_ARPA_END = b"\\end\\"
_TRIED_WORDS = 1000


@dataclass(frozen=True, kw_only=True)
class NgramFiles:
    """The files and weights of a language model; the defaults are those of pyctcdecode."""

    model: Path
    """In ARPA format or KenLM's binary format."""
    unigrams: Path | None = None
    """One word a line; None if the ARPA file lists the words, or if they are not known."""
    alpha: float = 0.5
    """Weight of the model's natural log-probabilities."""
    beta: float = 1.5
    """Score added for each word, because the model prefers few words."""
    unk_score_offset: float = -10.0
    """Score added for a word that the model does not know."""
    score_boundary: bool = True
    """Whether the start and the end of a text are scored."""

    def words(self) -> Iterator[str]:
        """Yield the words that the model knows, as far as the files list them."""
        if self.unigrams is not None:
            with self.unigrams.open(encoding="utf-8") as file:
                yield from filter(None, map(str.strip, file))
        elif self.model.suffix == ".arpa":
            yield from _arpa_words(self.model)


def find_ngrams(checkpoint: Checkpoint, lm: str) -> NgramFiles | None:
    """Find the language model that `lm` names, or else the one in the checkpoint's folder.

    Args:
        checkpoint: the checkpoint that it is used with.
        lm: a file, or a folder that contains one or has a folder `language_model`; "" if none is
            named.

    Raises:
        CheckpointError: it is missing, is no language model, or has other letters than the
            checkpoint.
    """
    path = Path(lm) if lm else checkpoint.path / LANGUAGE_MODEL
    if not lm and not path.is_dir():
        return None
    if (path / LANGUAGE_MODEL).is_dir():
        path = path / LANGUAGE_MODEL
    try:
        if path.is_dir():
            _check_alphabet(path.parent / "alphabet.json", checkpoint)
            files = _in_folder(path)
        else:
            files = NgramFiles(model=path)
        _check_model(files.model)
        _check_words(files, checkpoint)
    except FileNotFoundError as error:
        raise CheckpointError(f"{error.filename}: no such file") from None
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    return files


def _in_folder(path: Path) -> NgramFiles:
    models = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES)
    if len(models) != 1:
        raise CheckpointError(
            f"{path}: has {len(models)} language models ({', '.join(_SUFFIXES)}), one is wanted"
        )
    attributes = path / "attrs.json"
    given = json.loads(attributes.read_text(encoding="utf-8")) if attributes.exists() else {}
    weights = {key: type(getattr(NgramFiles, key))(value) for key, value in given.items()}
    for key, value in weights.items():
        # JSON in Python has NaN and Infinity.
        if not math.isfinite(value):
            raise CheckpointError(f"{attributes}: {key} is {value}")
    unigrams = path / "unigrams.txt"
    return NgramFiles(model=models[0], unigrams=unigrams if unigrams.exists() else None, **weights)


def _check_model(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(max(0, path.stat().st_size - 4096))
        tail = file.read()
    if head.startswith(_BINARY_MAGIC):
        return
    if _ARPA_MAGIC not in head:
        raise CheckpointError(f"{path}: neither an ARPA file nor one of KenLM's binary format")
    if _ARPA_END not in tail:
        raise CheckpointError(
            f"{path}: has no {_ARPA_END.decode()} at its end; was the file cut short?"
        )


def _check_alphabet(path: Path, checkpoint: Checkpoint) -> None:
    """Check that a folder's language model was made for the letters of the checkpoint."""
    if not path.exists():
        return
    labels = json.loads(path.read_text(encoding="utf-8"))["labels"]
    spoken = set(range(len(checkpoint.vocabulary))) - checkpoint.special_ids
    for id_ in sorted(spoken - checkpoint.delimiter_ids):
        symbol = checkpoint.vocabulary[id_]
        if symbol and (id_ >= len(labels) or labels[id_] != symbol):
            raise CheckpointError(
                f"{path}: does not fit the checkpoint, whose symbol {id_} is {symbol!r}"
            )


def _check_words(files: NgramFiles, checkpoint: Checkpoint) -> None:
    """Refuse a model with other letters, such as lower case instead of capitals."""
    letters = set("".join(checkpoint.vocabulary))
    tried = list(itertools.islice(files.words(), _TRIED_WORDS))
    foreign = [word for word in tried if not letters.issuperset(word)]
    if len(foreign) > len(tried) / 2:
        raise CheckpointError(
            f"{files.model}: {len(foreign)} of its first {len(tried)} words have letters that the "
            f"checkpoint never writes, {foreign[0]!a} for one"
        )


def _arpa_words(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        lines = itertools.dropwhile(lambda line: line.strip() != "\\1-grams:", file)
        next(lines, None)
        for line in lines:
            if line.startswith("\\"):
                return
            if len(fields := line.split()) > 1 and not fields[1].startswith("<"):
                yield fields[1]
