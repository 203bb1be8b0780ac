"""Decodes emissions into words with times and confidences, greedily or by beam search."""
