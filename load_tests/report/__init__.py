"""What a run came to: counts, the server's side, gates, and the text that a person reads."""
