"""Chooses the CTC blank where a checkpoint's files name it twice."""

from __future__ import annotations

from pathlib import Path

from asr_backend.checkpoint.files import CheckpointError
from asr_backend.checkpoint.tokenizer import Tokens

FLAG = "--blank-id"


def choose_blank(
    path: Path, tokens: Tokens, size: int, *, flag: int | None, configured: int | None
) -> tuple[int, str | None]:
    """The id of the blank, and a warning of one line if the files disagree.

    In this family the blank is the padding token, which config.json has as an id and the tokenizer
    as text. Where they differ the tokenizer's is taken, as in transformers' `decode`.

    Args:
        path: the checkpoint's folder, for messages.
        tokens: of the tokenizer.
        size: number of outputs.
        flag: the id that the caller wants, whatever the files say.
        configured: `pad_token_id` of config.json.

    Raises:
        CheckpointError: none of them is an output, or the files disagree and the one taken is a
            letter.
    """
    if flag is not None:
        return _checked(path, flag, size, FLAG), None
    of_tokenizer = next((id_ for id_ in tokens.ids(tokens.pad) if 0 <= id_ < size), None)
    if configured is None:
        return _checked(path, of_tokenizer, size, "pad_token_id"), None
    _checked(path, configured, size, "pad_token_id")
    if of_tokenizer == configured:
        return configured, None
    taken = configured if of_tokenizer is None else of_tokenizer
    symbol = tokens.by_id.get(taken, "")
    disagree = (
        f"{path}: config.json has pad_token_id {configured} ({tokens.by_id.get(configured)!r}), "
        f"the tokenizer has {tokens.pad!r} (id {of_tokenizer})"
    )
    if _is_letter(symbol, tokens):
        raise CheckpointError(
            f"{disagree}; {symbol!r} would never be written: say which id is the CTC blank with "
            f"{FLAG}"
        )
    return taken, f"{disagree}; took {taken} as the CTC blank, {FLAG} takes another"


def _checked(path: Path, id_: int | None, size: int, source: str) -> int:
    if not isinstance(id_, int) or not 0 <= id_ < size:
        raise CheckpointError(
            f"{path}: the blank ({source} {id_}) is not one of the {size} outputs"
        )
    return id_


def _is_letter(symbol: str, tokens: Tokens) -> bool:
    """Whether a symbol is text: not a special token, nor a mark such as `-` or `_`."""
    named = symbol in tokens.silent and symbol != tokens.pad
    bracketed = len(symbol) > 2 and (symbol[0], symbol[-1]) in {("<", ">"), ("[", "]")}
    return not named and not bracketed and any(letter.isalnum() for letter in symbol)
