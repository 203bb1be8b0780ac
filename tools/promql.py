"""What an expression in Prometheus's language asks for."""

from __future__ import annotations

import re
from dataclasses import dataclass

import promql_parser


@dataclass(frozen=True)
class Selector:
    """Series that an expression selects.

    Attributes:
        name: of the metric.
        matchers: label, operator (`=`, `!=`, `=~`, `!~`) and value of each condition.
    """

    name: str
    matchers: frozenset[tuple[str, str, str]]

    def selects(self, name: str, labels: dict[str, str]) -> bool:
        """Whether a series is among them."""
        return name == self.name and all(
            _matches(operator, labels.get(label, ""), value)
            for label, operator, value in self.matchers
        )


def selectors(expression: str) -> set[Selector]:
    """All selectors of an expression.

    Raises:
        ValueError: it is not PromQL.
    """
    found: set[Selector] = set()

    def visit(node: object) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            conditions = frozenset(
                (each.name, _OPERATORS[str(each.op)], each.value) for each in node.matchers.matchers
            )
            found.add(Selector(node.name, conditions))
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return found


_OPERATORS = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}


def _matches(operator: str, found: str, wanted: str) -> bool:
    if operator in ("=", "!="):
        return (found == wanted) == (operator == "=")
    return bool(re.fullmatch(wanted, found)) == (operator == "=~")
