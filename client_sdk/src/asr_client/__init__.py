"""Typed client of the speech recognition service."""
