"""Load generation through the public SDK."""
