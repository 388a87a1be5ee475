"""Picture files through a trained generator into picture files: translate.py's and the demo's are the same bytes."""

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from models.inference.tiling import Tick
from models.inference.translator import Translator
from util.errors import UserError
from util.files import replacing, writing_to
from util.pixels import srgb_profile


def translate_files(
    translator: Translator, files: dict[Path, Path], quality: int = 95, tick: Tick = lambda *_: None
) -> dict[Path, str]:
    """Read, translate and write ``files``, {file to write: input}; what could not be read comes back with the reason.
    ``UserError`` where a folder can't be written to. ``tick``: as of ``Translator.translate_read``."""
    with_profile, bad = {}, {}

    def read() -> Iterator[tuple]:
        for path, source in files.items():
            try:
                image, alpha = translator.reader.open_with_transparency(source, translator.input_nc)
            except UserError as error:  # damage that the check didn't see
                bad[source] = str(error)
                continue
            with_profile[path] = bool(image.info.get("icc_profile"))
            yield image, alpha
            del image, alpha  # a large one shall not wait for the next

    translations = translator.translate_read(read(), tick)
    for path, has_profile in with_profile.items():
        translation = translations.pop(0)
        if path.suffix in (".jpg", ".jpeg") and translation.mode == "RGBA":
            white = Image.new("RGBA", translation.size, "white")
            translation = Image.alpha_composite(white, translation).convert("RGB")
        options: dict = {"quality": quality} if path.suffix != ".png" else {}
        if has_profile:  # what had a profile gets that of the colours it now has
            options["icc_profile"] = srgb_profile()
        with writing_to("--out", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as beside:
                translation.save(beside, **options)
    return bad
