"""How often something that dies is brought back."""

from __future__ import annotations

from dataclasses import dataclass, field

AT_ONCE = 3
"""So many times without a pause."""
PAUSE_S = 30.0
"""Then this long after the time before."""
MOST = 10
"""And not any more after so many times, as long as they count."""
COUNT_FOR_S = 600.0
"""One poisonous file, which retries bring back for three minutes, does not get as far as MOST."""


@dataclass
class Allowance:
    """A few times at once, then with pauses, then not any more: a new container may help."""

    _at_s: list[float] = field(default_factory=list)

    def is_spent(self, now_s: float) -> bool:
        """Whether it died too often."""
        return len(self._counted(now_s)) >= MOST

    def may_now(self, now_s: float) -> bool:
        """Whether it may be brought back now, and not only after a pause."""
        counted = self._counted(now_s)
        return len(counted) < AT_ONCE or now_s > counted[-1] + PAUSE_S

    def spend(self, now_s: float) -> None:
        """Note that it was brought back."""
        self._at_s.append(now_s)

    def _counted(self, now_s: float) -> list[float]:
        self._at_s = [at_s for at_s in self._at_s if now_s < at_s + COUNT_FOR_S]
        return self._at_s
