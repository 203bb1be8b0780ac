"""Reads and converts the folder of a checkpoint."""
