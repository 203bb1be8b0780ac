"""Reads a tokenizer's files as transformers does: the token of each output, and how text is made.

The classes are Wav2Vec2CTCTokenizer and Wav2Vec2PhonemeCTCTokenizer of transformers 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr_backend.checkpoint.files import CheckpointError, read_json_if_there

_PHONEMES = "Wav2Vec2PhonemeCTCTokenizer"
_CLASSES = ("Wav2Vec2CTCTokenizer", "Wav2Vec2Tokenizer", _PHONEMES)

# In the order in which transformers adds tokens that the vocabulary lacks.
_ROLES: dict[str, str | None] = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "sep_token": None,
    "pad_token": "<pad>",
    "cls_token": None,
    "mask_token": None,
}
_SILENT_ROLES = ("bos_token", "eos_token", "unk_token", "pad_token")

# clean_up_tokenization of transformers' PreTrainedTokenizerBase.
_CLEAN_UP = (
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {end}", end) for end in ("n't", "'m", "'s", "'ve", "'re")),
)


@dataclass(frozen=True, kw_only=True)
class Spelling:
    """How a tokenizer makes text of words."""

    phonemes: bool = False
    """Whether each symbol is a word by itself."""
    between_words: str = " "
    """`replace_word_delimiter_char`; a space for phonemes."""
    lower_case: bool = False
    """`do_lower_case`."""
    clean_up: bool = False
    """`clean_up_tokenization_spaces`: no space before a punctuation mark."""

    def word(self, symbols: str) -> str:
        """A word or a character, from its symbols."""
        return symbols.lower() if self.lower_case else symbols

    def text(self, words: list[str]) -> str:
        """The text of words as the vocabulary spells them, a delimiter between each two."""
        text = self.word(self.between_words.join(words).strip())
        if self.clean_up:
            for found, clean in _CLEAN_UP:
                text = text.replace(found, clean)
        return text


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens of a vocabulary."""

    by_id: Mapping[int, str]
    silent: frozenset[str]
    """The tokens for beginning, end, unknown and padding, which never become text."""
    pad: str | None
    delimiter: str | None
    """The token between two words."""

    def ids(self, token: str | None) -> list[int]:
        """The ids of a token, in order; more than one if it was added again."""
        return sorted(id_ for id_, symbol in self.by_id.items() if symbol == token)


class Tokenizer:
    """The settings of a checkpoint's tokenizer.

    Args:
        path: the checkpoint's folder.
        config: its config.json.

    Raises:
        CheckpointError: the class of the tokenizer is not supported, or a file cannot be read.
        ValueError: a setting has a wrong type.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self._path = path
        self._settings = read_json_if_there(path / "tokenizer_config.json")
        name = self._settings.get("tokenizer_class") or config.get("tokenizer_class")
        if name is not None and str(name).removesuffix("Fast") not in _CLASSES:
            raise CheckpointError(
                f"{path}: tokenizer_class {name!r} is none of {', '.join(_CLASSES)}"
            )
        self._phonemes = str(name).removesuffix("Fast") == _PHONEMES
        self._added = dict(self._read_added())

    @property
    def spelling(self) -> Spelling:
        """How text is made of words."""
        clean_up = bool(self._settings.get("clean_up_tokenization_spaces"))
        if self._phonemes:
            return Spelling(phonemes=True, clean_up=clean_up)
        between = self._settings.get("replace_word_delimiter_char", " ")
        if not isinstance(between, str):
            raise ValueError(f"replace_word_delimiter_char {between!r}")
        return Spelling(
            between_words=between,
            lower_case=bool(self._settings.get("do_lower_case")),
            clean_up=clean_up,
        )

    def tokens(self, vocabulary: Mapping[str, int]) -> Tokens:
        """The tokens of a vocabulary and those added to it."""
        roles = {key: _token(self._settings.get(key, token)) for key, token in _ROLES.items()}
        named = self._named_tokens()
        delimiter = named.pop("word_delimiter_token")
        known = {*vocabulary, *self._added.values()}
        # A special token that no file lists has the next id.
        unlisted = {}
        wanted = [*roles.values(), *([] if self._phonemes else [delimiter]), *named.values()]
        for token in wanted:
            if token and token not in known:
                unlisted[len(known)] = token
                known.add(token)
        of_vocabulary = {int(id_): token for token, id_ in vocabulary.items()}
        by_id = self._added | unlisted | of_vocabulary
        if self._phonemes:
            by_id |= {id_: self._added[id_] for id_ in self._added if id_ in of_vocabulary}
        return Tokens(
            by_id=by_id,
            silent=frozenset(token for role in _SILENT_ROLES if (token := roles[role])),
            pad=roles["pad_token"],
            delimiter=delimiter,
        )

    def _named_tokens(self) -> dict[str, str | None]:
        """Special tokens other than those of _ROLES, by name; the word delimiter is first."""
        named: dict[str, Any] = {"word_delimiter_token": None if self._phonemes else "|"}
        named |= {
            key: value
            for key, value in self._settings.items()
            if key.endswith("_token") and key not in _ROLES
        }
        # Tokens that the vocabulary lacks get their ids in this order.
        for key in ("model_specific_special_tokens", "extra_special_tokens"):
            extra = self._settings.get(key)
            if isinstance(extra, dict):
                named |= extra
        if self._phonemes:
            # It is written between phonemes where text is encoded.
            named.pop("phone_delimiter_token", None)
        extra = self._settings.get("extra_special_tokens")
        if not extra or isinstance(extra, dict):
            extra = self._settings.get("additional_special_tokens")
        if isinstance(extra, list):
            named |= {f"extra {place}": token for place, token in enumerate(extra)}
        return {key: _token(value) for key, value in named.items()}

    def _read_added(self) -> Iterator[tuple[int, str]]:
        """The tokens added to the vocabulary, by id."""
        for token, id_ in read_json_if_there(self._path / "added_tokens.json").items():
            yield int(id_), token
        if "added_tokens_decoder" in self._settings:
            for id_, entry in self._settings["added_tokens_decoder"].items():
                yield int(id_), str(_token(entry))
            return
        # Files of earlier versions.
        self._settings = self._settings | read_json_if_there(self._path / "special_tokens_map.json")
        for entry in read_json_if_there(self._path / "tokenizer.json").get("added_tokens", []):
            yield int(entry["id"]), str(entry["content"])


def _token(value: Any) -> str | None:
    """A special token, which tokenizer files have as text or as an object with `content`."""
    token = value.get("content") if isinstance(value, dict) else value
    if token is not None and not isinstance(token, str):
        raise ValueError(f"special token {token!r}")
    return token
