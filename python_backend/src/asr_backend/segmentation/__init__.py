"""Cuts long audio into windows, and joins their emissions again."""
