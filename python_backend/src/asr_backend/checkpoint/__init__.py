"""A checkpoint's folder: what it says of itself, and its files."""
