"""Describes the model in a folder of Hugging Face's format, without torch.

The fronts and the supervisor need a checkpoint's vocabulary and frame rate, and a clear error for a
folder that cannot be served. They do not need the weights in memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asr_backend import __version__
from asr_backend.audio.format import SAMPLE_RATE_HZ
from asr_backend.checkpoint.blank import choose_blank
from asr_backend.checkpoint.files import (
    CheckpointError,
    adapter_file,
    check_safetensors,
    read_json,
    read_json_if_there,
)
from asr_backend.checkpoint.tokenizer import Spelling, Tokenizer
from asr_backend.errors import AsrError, ErrorCode

MODEL_TYPES = frozenset(
    {"wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat"}
)

# Defaults of the configuration and feature extractor classes of transformers, for files without
# such a key.
_CONV_KERNEL = (10, 3, 3, 3, 3, 2, 2)
_CONV_STRIDE = (5, 2, 2, 2, 2, 2, 2)
_VOCAB_SIZE = 32


_SHOWN_LANGUAGES = 200
"""Longer messages would exceed the caller's limit for gRPC metadata."""


@dataclass(frozen=True, kw_only=True)
class Symbols:
    """The symbols of a network's outputs; the attributes are those of Checkpoint."""

    vocabulary: tuple[str, ...]
    blank_id: int
    word_delimiter_id: int | None
    special_ids: frozenset[int]
    other_delimiter_ids: frozenset[int]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A CTC checkpoint on disk.

    Attributes:
        path: the folder.
        id: the model that results report: as given, or else "demo" or the folder's name.
        revision: as given, or else the package's version for the demo and "local" for a folder.
        model_type: `model_type` of config.json, one of MODEL_TYPES.
        vocabulary: the symbol of each output of the network, by id; "" where no symbol has the id.
        blank_id: id of the CTC blank; in this family it is the padding token.
        word_delimiter_id: id of the symbol between words; None if the vocabulary has none, and for
            phonemes.
        special_ids: ids that never become text, the blank among them.
        other_delimiter_ids: more ids that separate words, such as that of a space beside a `|`.
        spelling: how text is made of words.
        warnings: what somebody should mend in the folder, a line each.
        do_normalize: whether each window is normalised to zero mean and unit variance.
        sample_rate_hz: the rate of the network's input; always 16000.
        conv_kernel: widths of the feature extractor's convolutions.
        conv_stride: their strides.
        language: the language of the symbols; None if the checkpoint has no language adapters.
        languages: the symbols of each language that it has an adapter for, its default included;
            empty if it has none.
    """

    path: Path
    id: str
    revision: str
    model_type: str
    vocabulary: tuple[str, ...]
    blank_id: int
    word_delimiter_id: int | None
    special_ids: frozenset[int]
    do_normalize: bool
    sample_rate_hz: int
    conv_kernel: tuple[int, ...]
    conv_stride: tuple[int, ...]
    language: str | None = None
    languages: Mapping[str, Symbols] = field(default_factory=dict)
    other_delimiter_ids: frozenset[int] = frozenset()
    spelling: Spelling = field(default_factory=Spelling)
    warnings: tuple[str, ...] = ()

    def in_language(self, language: str | None) -> Checkpoint:
        """The same checkpoint with the symbols of a language; None is its default.

        Raises:
            AsrError: UNKNOWN_LANGUAGE; the message lists the languages.
        """
        if language in (None, self.language):
            return self
        if language not in self.languages:
            detail = (
                f"{language[:40]!a} was asked for, this checkpoint has {len(self.languages)} "
                "language adapters"
            )
            if self.languages:
                detail += ": " + ", ".join(sorted(self.languages)[:_SHOWN_LANGUAGES])
            if len(self.languages) > _SHOWN_LANGUAGES:
                detail += f" and {len(self.languages) - _SHOWN_LANGUAGES} more"
            raise AsrError(ErrorCode.UNKNOWN_LANGUAGE, detail)
        symbols = self.languages[language]
        return replace(self, language=language, **vars(symbols))

    @property
    def delimiter_ids(self) -> frozenset[int]:
        """Ids that separate words; empty if the vocabulary has none."""
        first = set() if self.word_delimiter_id is None else {self.word_delimiter_id}
        return self.other_delimiter_ids | first

    @property
    def silent_ids(self) -> frozenset[int]:
        """Ids that are dropped like blanks: the blank, the special ones, those without a symbol."""
        nameless = {id_ for id_, symbol in enumerate(self.vocabulary) if not symbol}
        return frozenset({self.blank_id, *self.special_ids} - self.delimiter_ids | nameless)

    @property
    def stride_samples(self) -> int:
        """Samples from one frame to the next, 320 (20 ms) for the published checkpoints."""
        return math.prod(self.conv_stride)

    @property
    def receptive_field_samples(self) -> int:
        """Input samples of one frame, 400 for the published checkpoints."""
        field = 1
        for kernel, stride in zip(self.conv_kernel[::-1], self.conv_stride[::-1], strict=True):
            field = (field - 1) * stride + kernel
        return field

    def frame_count(self, sample_count: int) -> int:
        """Number of frames for an unpadded clip of `sample_count` samples."""
        count = sample_count
        for kernel, stride in zip(self.conv_kernel, self.conv_stride, strict=True):
            count = (count - kernel) // stride + 1 if count >= kernel else 0
        return count


def demo_checkpoint() -> Path:
    """The folder of the checkpoint inside the package."""
    return Path(__file__).parents[1] / "demo_checkpoint"


def load_checkpoint(
    path: Path,
    *,
    id: str | None = None,
    revision: str | None = None,
    blank_id: int | None = None,
) -> Checkpoint:
    """Read a checkpoint's description.

    Args:
        path: a folder with config.json, vocab.json, a feature extractor's settings and safetensors.
        id: reported instead of the folder's name.
        revision: reported instead of "local".
        blank_id: id of the CTC blank, where the files say nothing or the wrong thing.

    Raises:
        CheckpointError: the folder is missing or incomplete, its model is no CTC model of this
            family, its files name a letter as the blank, or it has only pickled weights.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such folder")
    try:
        return _read_checkpoint(path, id, revision, blank_id)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: a setting is not as it should be: {error!r}") from error


def _read_checkpoint(
    path: Path, id: str | None, revision: str | None, blank_id: int | None
) -> Checkpoint:
    config = read_json(path / "config.json")
    _check_model(path, config)
    extractor = _feature_extractor(path)
    tensors = _check_weights(path)
    tokenizer = Tokenizer(path, config)
    read = _SymbolReader(path, config, tokenizer, blank_id)
    symbols, language, languages = _read_languages(path, config, read)
    if language is None or not adapter_file(path, language).exists():
        _check_outputs(path, config, tensors)
    is_demo = path.resolve() == demo_checkpoint().resolve()
    kernel = tuple(config.get("conv_kernel", _CONV_KERNEL))
    stride = tuple(config.get("conv_stride", _CONV_STRIDE))
    if len(kernel) != len(stride) or not all(isinstance(n, int) and n > 0 for n in kernel + stride):
        raise ValueError(f"conv_kernel {kernel}, conv_stride {stride}")
    return Checkpoint(
        path=path,
        id=id or ("demo" if is_demo else _printable(path.resolve().name)),
        revision=revision or (__version__ if is_demo else "local"),
        model_type=config["model_type"],
        **vars(symbols),
        language=language,
        languages=languages,
        spelling=tokenizer.spelling,
        do_normalize=bool(extractor.get("do_normalize", True)),
        sample_rate_hz=SAMPLE_RATE_HZ,
        conv_kernel=kernel,
        conv_stride=stride,
    )


def _printable(name: str) -> str:
    """A folder's name as text: RESULT and gRPC carry UTF-8, and a file's name is any bytes."""
    text = os.fsencode(name).decode(errors="replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)


def _check_model(path: Path, config: Mapping[str, Any]) -> None:
    architectures = config.get("architectures") or []
    if not any(str(name).endswith("ForCTC") for name in architectures):
        found = ", ".join(map(str, architectures)) or "none named"
        raise CheckpointError(f"{path}: not a CTC checkpoint (architectures: {found})")
    if config.get("model_type") not in MODEL_TYPES:
        known = ", ".join(sorted(MODEL_TYPES))
        raise CheckpointError(f"{path}: model_type {config.get('model_type')!r} is none of {known}")
    if config.get("add_adapter"):
        raise CheckpointError(
            f"{path}: a convolutional adapter behind the encoder (add_adapter) is not supported"
        )


def _feature_extractor(path: Path) -> dict[str, Any]:
    """Settings of the feature extractor, from its own file or from the processor's."""
    settings = read_json_if_there(path / "preprocessor_config.json")
    settings = settings or read_json_if_there(path / "processor_config.json").get(
        "feature_extractor", {}
    )
    if not settings:
        raise CheckpointError(f"{path}: has no preprocessor_config.json")
    rate = settings.get("sampling_rate", SAMPLE_RATE_HZ)
    if rate != SAMPLE_RATE_HZ:
        raise CheckpointError(f"{path}: wants audio at {rate} Hz, only {SAMPLE_RATE_HZ} is served")
    return settings


def _check_weights(path: Path) -> dict[str, Any]:
    """Check the files of weights; returns the entries of their headers, by tensor."""
    if (path / "model.safetensors").is_file():
        shards = {"model.safetensors"}
    elif (path / "model.safetensors.index.json").is_file():
        index = read_json(path / "model.safetensors.index.json")
        shards = set(index.get("weight_map", {}).values())
    elif any(path.glob("pytorch_model*.bin")):
        raise CheckpointError(
            f"{path}: has pickled weights only (pytorch_model.bin); "
            f"make safetensors of them with: asr-server convert {path} DST"
        )
    else:
        shards = set()
    if not shards:
        raise CheckpointError(f"{path}: has no weights (model.safetensors)")
    tensors: dict[str, Any] = {}
    for shard in sorted(shards):
        tensors |= check_safetensors(path / shard)
    return tensors


def _check_outputs(path: Path, config: Mapping[str, Any], tensors: Mapping[str, Any]) -> None:
    """Check that the last layer has an output for each symbol."""
    size = config.get("vocab_size", _VOCAB_SIZE)
    head = tensors.get("lm_head.weight")
    if head is not None and head["shape"][0] != size:
        raise CheckpointError(
            f"{path}: the weights have {head['shape'][0]} outputs (lm_head.weight), config.json "
            f"has vocab_size {size}"
        )


def _read_languages(
    path: Path, config: Mapping[str, Any], read: _SymbolReader
) -> tuple[Symbols, str | None, dict[str, Symbols]]:
    """The default symbols, the default language, and the symbols of all languages.

    A language is served if the file of its adapter exists. The default language may be without
    one: then it is that of the weights.
    """
    vocabularies = read_json(path / "vocab.json")
    size = config.get("vocab_size", _VOCAB_SIZE)
    if not any(isinstance(value, dict) for value in vocabularies.values()):
        return read(vocabularies, size), None, {}
    if config.get("adapter_attn_dim") is None:
        raise CheckpointError(f"{path}: a vocabulary for each language, but no adapters")
    default = read_json_if_there(path / "tokenizer_config.json").get("target_lang") or "eng"
    if default not in vocabularies:
        raise CheckpointError(f"{path}: vocab.json has nothing for its language {default!r}")
    symbols = {}
    for language in (default, *(set(vocabularies) - {default})):
        file = adapter_file(path, language)
        if file.exists():
            outputs = check_safetensors(file)["lm_head.weight"]["shape"][0]
            symbols[language] = read(vocabularies[language], outputs)
        elif language == default:
            symbols[language] = read(vocabularies[language], size)
    return symbols[default], default, symbols


@dataclass(frozen=True)
class _SymbolReader:
    """Reads the symbols of outputs from a vocabulary and the tokenizer's settings."""

    path: Path
    config: Mapping[str, Any]
    tokenizer: Tokenizer
    blank_id: int | None

    def __call__(self, vocabulary: Mapping[str, int], size: int) -> Symbols:
        """The symbols of `size` outputs."""
        tokens = self.tokenizer.tokens(vocabulary)
        spelling = self.tokenizer.spelling
        # The network has no outputs for tokens that a tokenizer added after its vocabulary.
        symbols = {id_: token for id_, token in tokens.by_id.items() if 0 <= id_ < size}
        blank_id, warning = choose_blank(
            self.path,
            tokens,
            size,
            flag=self.blank_id,
            configured=self.config.get("pad_token_id", 0),
        )
        silent = {id_ for id_ in range(size) if symbols.get(id_) in {None, *tokens.silent}}
        delimiters: list[int] = []
        for token in (tokens.delimiter, spelling.between_words):
            delimiters += [id_ for id_ in tokens.ids(token) if id_ < size and id_ != blank_id]
        if tokens.delimiter == tokens.pad:
            delimiters = [id_ for id_ in delimiters if id_ not in silent]
        if spelling.phonemes:
            silent |= set(tokens.ids(tokens.delimiter)) & symbols.keys()
            delimiters = []
        return Symbols(
            vocabulary=tuple(symbols.get(id_, "") for id_ in range(size)),
            blank_id=blank_id,
            word_delimiter_id=delimiters[0] if delimiters else None,
            special_ids=frozenset((silent - set(delimiters)) | {blank_id}),
            other_delimiter_ids=frozenset(delimiters[1:]),
            warnings=(warning,) if warning else (),
        )
