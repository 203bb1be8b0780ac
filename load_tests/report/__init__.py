"""The results of a run: counts, the server's side, gates, and the text that a person reads."""
