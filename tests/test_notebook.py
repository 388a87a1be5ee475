"""docs/negcut.ipynb as it stands, with tiny networks: from two folders of photographs to a translation, and on."""

from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
TINY = "--netG resnet_4blocks --ngf 2 --netD n_layers --n_layers_D 1 --ndf 2 --netF_nc 4 --num_threads 0"


@pytest.mark.slow
def test_the_notebook_trains_goes_on_and_translates(tmp_path):
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(ROOT / "docs/negcut.ipynb", as_version=4)
    cells = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", ())}
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "outputs are stored"

    painting = Image.open(ROOT / "docs/images/etretat.jpg")
    for side, top in (("A", 0), ("B", 400)):
        (tmp_path / side).mkdir()
        for i in range(20):
            painting.crop((45 * i, top, 45 * i + 64, top + 48)).save(tmp_path / side / f"{i}.png")

    settings = f"\nREPOSITORY, A, B, KEEP = {str(ROOT)!r}, 'A', 'B', 'kept'\nSIZE, FLAGS = 32, {TINY!r}\nEPOCHS = "
    parameters = cells["parameters"].source + settings
    client = client(notebook, timeout=1200, startup_timeout=300, resources={"metadata": {"path": str(tmp_path)}})

    def execute(cell) -> list:
        return client.execute_cell(cell, notebook.cells.index(cell)).outputs

    def said(outputs: list) -> str:
        return "".join(output.get("text", "") for output in outputs)

    with client.setup_kernel():
        cells["parameters"].source = f"{parameters}1"
        outputs = [execute(cell) for cell in code]
        cells["parameters"].source = f"{parameters}2"
        execute(cells["parameters"])
        again = said(execute(cells["train"]))
    text = "".join(map(said, outputs))
    assert "SystemExit" not in text and "run       new, 2 epochs of 18 images" in text and "epoch 1/2" in text, text
    assert "run       goes on at epoch 3, image 0, 4 epochs of 18 images" in again, again
    shown = [sum("image/png" in output.get("data", {}) for output in each) for each in outputs]
    assert shown[-2] >= 2 and shown[-1] == 2
    assert Image.open(tmp_path / "translation.png").size == (48, 36)
