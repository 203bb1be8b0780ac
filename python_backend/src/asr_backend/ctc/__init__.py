"""Emissions to words: greedy and by beam search, with times and confidences."""
