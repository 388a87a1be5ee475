"""Words for messages."""

import difflib


def plural(number: int, noun: str) -> str:
    """``1 image``, ``2 images``, ``0 images``; of regular nouns."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def did_you_mean(word: str, known: list[str]) -> str:
    """`` (did you mean --netG?)``: what of ``known`` is most like ``word``; "" where nothing is."""
    close = difflib.get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
