"""``from util.translator import Translator``, for notebooks; it lives in models/inference/translator.py."""


def __getattr__(name: str):
    if name != "Translator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from models.inference.translator import Translator  # lazily: util imports nothing of models

    return Translator
