"""Small language models in ARPA's format."""

from __future__ import annotations

import math
from collections.abc import Mapping


def arpa(words: Mapping[str, float], pairs: Mapping[tuple[str, str], float]) -> str:
    """A bigram model of these probabilities; others are backed off to, at 1."""
    unigrams = {"<unk>": 1e-3, "<s>": 1e-9, "</s>": 0.1, **words}
    bigrams = {("<s>", "</s>"): 1e-3, **pairs}
    lines = ["\\data\\", f"ngram 1={len(unigrams)}", f"ngram 2={len(bigrams)}", "", "\\1-grams:"]
    lines += [f"{math.log10(p):.6f}\t{word}\t0" for word, p in unigrams.items()]
    lines += ["", "\\2-grams:"]
    lines += [f"{math.log10(p):.6f}\t{' '.join(pair)}" for pair, p in bigrams.items()]
    return "\n".join([*lines, "", "\\end\\", ""])
