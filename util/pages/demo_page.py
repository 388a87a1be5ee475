"""The page of scripts/demo.py, in gradio's terms."""

import os
import tempfile
import zipfile
from pathlib import Path

import gradio as gr

from util.errors import sentence
from util.files import free_name

EXPLANATION = "Drop a photo, paste one, or take one with the camera. Nothing leaves this machine."
PREVIEW = 2048  # pixels: larger pictures are shown smaller, and downloaded whole
ONE_AT_A_TIME = {"concurrency_id": "network", "concurrency_limit": 1}  # others wait


def theme():
    """Fonts that every machine has: the page loads nothing from elsewhere."""
    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def build(models) -> gr.Blocks:
    """``models``: scripts/demo.py's, with ``title``, ``about``, ``label``, ``choices``, ``averages``, ``args.ema``,
    ``reader`` and ``translate(path, target, choice, average, tick)``, which returns what there is to say."""

    def one(path, choice, average, progress=gr.Progress()):  # noqa: B008  (gradio finds it by this default)
        if path is None:
            return None, None
        target = translate(path, new_folder(), choice, average, lambda *done: progress(done, unit="passes"))
        return (preview(path), preview(target)), str(target)

    def several(paths, choice, average, progress=gr.Progress()):  # noqa: B008
        targets, folder, bad = [], new_folder(), []
        for i, path in enumerate(paths or []):

            def tick(done, of, i=i):
                progress((i + done / of) / len(paths), desc=f"{i + 1} of {len(paths)}")

            tick(0, 1)
            try:
                targets.append(translate(path, folder, choice, average, tick))
            except gr.Error as error:
                bad.append(error.message)
        if not targets:
            raise failure(" ".join(bad) or "choose pictures first")
        for message in bad:
            gr.Warning(message, duration=None)
        archive = folder / "translations.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
            for target in targets:
                file.write(target, target.name)
        return [(preview(target), target.stem) for target in targets], str(archive)

    def translate(path, folder: Path, choice, average, tick) -> Path:
        """The file of the translation, in ``folder``. ``gr.Error``: a sentence that calls the picture by its name."""
        target = free_name(folder / f"{Path(path).stem}_translated.png", Path.exists)
        try:
            remarks = models.translate(Path(path), target, choice, average, tick)
        except Exception as error:
            if sentence(error) is None:
                raise
            raise failure(named(sentence(error), path)) from None
        for remark in remarks:
            gr.Warning(named(remark, path), duration=None)
        return target

    def preview(path) -> str:
        """A file that a browser shows at once."""
        small = new_folder() / "preview.png"
        image = models.reader.open(path)
        image.thumbnail((PREVIEW, PREVIEW))
        image.save(small)
        return str(small)

    with gr.Blocks(title=models.title, analytics_enabled=False) as page:
        gr.Markdown(f"# {models.title}\n{models.about} {EXPLANATION}")
        with gr.Row(visible=len(models.choices) > 1 or models.averages):
            shown = len(models.choices) > 1
            choice = gr.Dropdown(models.choices, value=models.choices[0], label=models.label, visible=shown)
            average = gr.Checkbox(models.args.ema, label="Averaged weights", visible=models.averages)
        with gr.Tab("One picture"), gr.Row():
            sources = ["upload", "clipboard", "webcam"]
            picture = gr.Image(label="Photo", type="filepath", image_mode=None, sources=sources, elem_id="photo")
            # The uploaded file as it is, so that our reader sees it and says what is wrong with it.
            picture.preprocess = lambda payload: payload and payload.path
            with gr.Column():
                slider = gr.ImageSlider(label="Photo and translation", elem_id="result", buttons=["fullscreen"])
                download = gr.DownloadButton("Download", elem_id="download")
        with gr.Tab("Several pictures"):
            files = gr.File(label="Photos", file_count="multiple", file_types=["image"], elem_id="photos")
            start = gr.Button("Translate", variant="primary", elem_id="translate")
            gallery = gr.Gallery(label="Translations", elem_id="gallery")
            archive = gr.DownloadButton("Download all", elem_id="download_all")
        chosen = [choice, average]
        gr.on(
            [picture.change, choice.input, average.input], one, [picture, *chosen], [slider, download],
            **ONE_AT_A_TIME,
        )  # fmt: skip
        start.click(several, [files, *chosen], [gallery, archive], **ONE_AT_A_TIME)
    return page


def failure(message: str) -> gr.Error:
    return gr.Error(message, duration=None, print_exception=False)


def named(message: str, path) -> str:
    """With the picture's name for its path. Gradio strips quotation marks at either end."""
    return message.replace(repr(str(path)), Path(path).name).replace(str(path), Path(path).name) + "."


def new_folder() -> Path:
    """In the folder of uploads, which is deleted at the end."""
    return Path(tempfile.mkdtemp(dir=os.environ["GRADIO_TEMP_DIR"]))
