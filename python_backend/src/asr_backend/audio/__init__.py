"""Submitted audio to blocks of mono samples at 16 kHz, decoded as they are asked for."""
