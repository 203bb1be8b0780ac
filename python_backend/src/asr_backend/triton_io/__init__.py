"""Triton's interface, as both kinds of model process use it."""
