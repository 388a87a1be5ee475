"""JSON that every reader accepts: NaN and infinities, which JSON lacks, become null."""

import json
import math


def dumps(value, **options) -> str:
    """``json.dumps`` of nested dicts and sequences; what is neither number nor text becomes its ``str``."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False, **options)


def _plain(value):
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "item"):  # a numpy number or a tensor of one element
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
