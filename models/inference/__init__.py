"""A trained G on pictures."""
