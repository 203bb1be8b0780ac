"""Texts of the demo checkpoint's small language: digits, numbers, playing cards, commands.

A text is a string of lower-case words with single spaces. `sample(group, rng)` draws one from a
group; every word that a group can produce is in `VOCABULARY`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEENS = (
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
RANKS = (*DIGITS[2:], "ten", "ace", "jack", "queen", "king")
SUITS = ("clubs", "diamonds", "hearts", "spades")
UNITS = ("meter", "meters", "step", "steps")
DIRECTIONS = ("forward", "backward", "left", "right", "up", "down")
SINGLE_COMMANDS = ("stop", "start", "go", "turn", "yes", "no")

VOCABULARY = frozenset(
    (*DIGITS, *TEENS, *TENS, *RANKS, *SUITS, *UNITS, *DIRECTIONS, *SINGLE_COMMANDS)
) | {"oh", "hundred", "thousand", "of", "the", "and", "degrees"}


def cardinal(number: int) -> str:
    """Spell a number from 0 to 9999 in American words ("one hundred five")."""
    if not 0 <= number <= 9999:
        raise ValueError(f"cardinal() takes 0 to 9999, got {number}")
    if number < 10:
        return DIGITS[number]
    if number < 20:
        return TEENS[number - 10]
    if number < 100:
        tens, rest = divmod(number, 10)
        return TENS[tens - 2] + (f" {DIGITS[rest]}" if rest else "")
    scale, word = (1000, "thousand") if number >= 1000 else (100, "hundred")
    head, rest = divmod(number, scale)
    return f"{cardinal(head)} {word}" + (f" {cardinal(rest)}" if rest else "")


def _card(rng: Random) -> str:
    return f"{rng.choice(RANKS)} of {rng.choice(SUITS)}"


def cards(rng: Random) -> str:
    """One to three cards, with an article, a bare rank in front, or without "of" at times."""
    form = rng.random()
    if form < 0.45:
        return _card(rng)
    if form < 0.52:
        return f"the {_card(rng)}"
    if form < 0.67:
        return f"{rng.choice(RANKS)} {_card(rng)}"
    if form < 0.72:
        return f"{rng.choice(RANKS)} {rng.choice(SUITS)}"
    if form < 0.86:
        return f"{_card(rng)} {'and ' if rng.random() < 0.15 else ''}{_card(rng)}"
    if form < 0.94:
        return f"{_card(rng)} {_card(rng)} {_card(rng)}"
    return rng.choice((*RANKS, *SUITS))


def digits(rng: Random) -> str:
    """One to six digits, the same digit repeated at times, "oh" for zero now and then."""
    count = rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 6))
    if count == 2 and rng.random() < 0.35:
        return " ".join([rng.choice(DIGITS)] * 2)
    words = [rng.choice(DIGITS) for _ in range(count)]
    return " ".join("oh" if w == "zero" and rng.random() < 0.3 else w for w in words)


def numbers(rng: Random) -> str:
    """A cardinal number, small ones more often than large ones."""
    limit = rng.choice((20, 20, 100, 100, 100, 1000, 10000))
    return cardinal(rng.randrange(10, limit))


def commands(rng: Random) -> str:
    """A movement command with or without a distance or an angle, or a single word."""
    form = rng.random()
    if form < 0.55:
        number = rng.choice((rng.randrange(1, 11), rng.randrange(1, 11), rng.randrange(10, 100)))
        unit = "meter" if rng.random() < 0.7 else "step"
        unit += "" if number == 1 else "s"
        verb = "go" if rng.random() < 0.85 else "turn"
        return f"{verb} {rng.choice(DIRECTIONS)} {cardinal(number)} {unit}"
    if form < 0.65:
        angle = cardinal(rng.choice((15, 30, 45, 60, 90, 180)))
        return f"turn {rng.choice(('left', 'right'))} {angle} degrees"
    if form < 0.85:
        return f"{rng.choice(('go', 'go', 'turn'))} {rng.choice(DIRECTIONS)}"
    return rng.choice((*SINGLE_COMMANDS, *DIRECTIONS, *UNITS))


GROUPS: dict[str, Callable[[Random], str]] = {
    "cards": cards,
    "digits": digits,
    "numbers": numbers,
    "commands": commands,
}


def sample(group: str, rng: Random) -> str:
    """Draw one text from a group named in `GROUPS`."""
    return GROUPS[group](rng)


def sample_distinct(count: int, weights: dict[str, float], rng: Random) -> list[tuple[str, str]]:
    """Draw `count` pairs of group and text, distinct as long as the groups can give new ones."""
    names = list(weights)
    shares = [weights[name] for name in names]
    seen: set[str] = set()
    drawn: list[tuple[str, str]] = []
    while len(drawn) < count:
        group = rng.choices(names, shares)[0]
        text = sample(group, rng)
        for _ in range(5):
            if text not in seen:
                break
            text = sample(group, rng)
        seen.add(text)
        drawn.append((group, text))
    return drawn
