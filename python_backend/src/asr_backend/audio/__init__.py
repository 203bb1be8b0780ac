"""Turns submitted audio into blocks of mono samples at 16 kHz, decoded on demand."""
