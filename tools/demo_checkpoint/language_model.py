"""Write the demo's bigram model into a checkpoint folder, as `Wav2Vec2ProcessorWithLM` lays it out.

    python -m tools.demo_checkpoint.language_model FOLDER

The texts are drawn from the demo's grammar. The estimate is Witten and Bell's, interpolated: with N
words seen behind a history, T different ones among them, and c of word w, its probability there is
(c + T P(w)) / (N + T). Source: Chen and Goodman, "An Empirical Study of Smoothing Techniques for
Language Modeling", 1998, section 2.4.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from random import Random

from tools.command import make_parser
from tools.demo_checkpoint.grammar import GROUPS, sample
from tools.demo_checkpoint.model import SYMBOLS

TEXTS = 4_000
"""Drawn from each group of the grammar."""
UNKNOWN = -6.0
"""The common logarithm of an unknown word's probability, besides `unk_score_offset`."""
PYCTCDECODE = {"<pad>": "", "|": " ", "<unk>": "\N{DOUBLE QUESTION MARK}"}
"""How pyctcdecode writes the blank, the word boundary and an unknown symbol."""
ATTRIBUTES = {"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0, "score_boundary": True}
"""pyctcdecode's defaults."""


def bigram_arpa(texts: Iterable[str]) -> str:
    """The bigram model of some texts in ARPA's format."""
    pairs: dict[str, Counter[str]] = defaultdict(Counter)
    words: Counter[str] = Counter()
    for text in texts:
        said = ["<s>", *text.split(), "</s>"]
        words.update(said[1:])
        for history, word in itertools.pairwise(said):
            pairs[history][word] += 1
    alone = {word: count / words.total() for word, count in sorted(words.items())}
    unigrams = [f"{UNKNOWN:.4f}\t<unk>\t0", f"-99\t<s>\t{_log(_unseen(pairs['<s>']))}"]
    for word, probability in alone.items():
        weight = _log(_unseen(pairs[word])) if word in pairs else "0"
        unigrams.append(f"{_log(probability)}\t{word}\t{weight}")
    bigrams = []
    for history, seen in sorted(pairs.items()):
        for word, count in sorted(seen.items()):
            after = (count + len(seen) * alone[word]) / (seen.total() + len(seen))
            bigrams.append(f"{_log(after)}\t{history} {word}")
    head = ["\\data\\", f"ngram 1={len(unigrams)}", f"ngram 2={len(bigrams)}"]
    lines = [*head, "", "\\1-grams:", *unigrams, "", "\\2-grams:", *bigrams, "", "\\end\\", ""]
    return "\n".join(lines)


def _unseen(seen: Counter[str]) -> float:
    """What is left to words never seen behind a history, which weighs their own probability."""
    return len(seen) / (seen.total() + len(seen))


def _log(probability: float) -> str:
    return f"{math.log10(probability):.4f}"


def write_language_model(folder: Path) -> None:
    """Write `language_model/` and `alphabet.json` into a checkpoint's folder."""
    rng = Random(0)
    texts = [sample(group, rng).upper() for group in GROUPS for _ in range(TEXTS)]
    model = folder / "language_model"
    model.mkdir(exist_ok=True)
    (model / "bigram.arpa").write_text(bigram_arpa(texts), encoding="ascii")
    (model / "unigrams.txt").write_text("\n".join(sorted({*" ".join(texts).split()})) + "\n")
    (model / "attrs.json").write_text(json.dumps(ATTRIBUTES, indent=2) + "\n", encoding="ascii")
    labels = [PYCTCDECODE.get(symbol, symbol) for symbol in SYMBOLS]
    alphabet = {"labels": labels, "is_bpe": False}
    (folder / "alphabet.json").write_text(json.dumps(alphabet) + "\n", encoding="ascii")


def main() -> None:
    """Write it."""
    parser = make_parser("tools.demo_checkpoint.language_model", __doc__)
    parser.add_argument("folder", type=Path, help="a checkpoint with the demo's vocabulary")
    write_language_model(parser.parse_args().folder)


if __name__ == "__main__":
    main()
