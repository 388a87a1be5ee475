"""Translate the test images of a trained model and write a page: python test.py --name h2z

Everything else is read from the options saved with the model; flags override. See --help.
"""

from pathlib import Path

import options
from util.errors import run

if __name__ == "__main__":
    run(options.look_ahead, None, False)  # --help and wrong values are answered before torch is imported

import torch
from tqdm.auto import tqdm

from data import create_dataset
from models import create_model
from models.inference.translate import translate
from util.images import result_name, save_image, tensor2im
from util.pages.result_page import ResultPage
from util.run.checkpoints import plain_options
from util.run.run_summary import print_options
from util.words import plural


def main() -> None:
    opt = options.parse(is_train=False)
    if opt.model not in (opt.trained_model, "test"):
        print(f"--model {opt.model}: {opt.name} was trained with {opt.trained_model}, whose generator translates")
    dataset = create_dataset(opt)
    model = create_model(opt)
    model.see_first_batch(dataset)
    model.setup(opt)
    if opt.eval:
        model.eval()
    folder = results_folder(opt)
    if not opt.quiet:
        print_options(opt, folder / "index.html")
    if opt.verbose:
        model.print_networks(True)

    title = f"{opt.easy_label or opt.name}: {opt.phase}, epoch {opt.epoch}"
    header = {"model": opt.trained_model, "dataroot": opt.dataroot, "options": plain_options(opt)}
    page = ResultPage(folder, title, header, Path(opt.checkpoints_dir, opt.name))
    count = int(min(opt.num_test, len(dataset)))
    names: set[str] = set()
    with tqdm(total=count, unit=" images", disable=opt.quiet or None) as bar:
        for batch in dataset:
            if len(names) == count:
                break
            visuals, paths = translated(model, batch)
            unpaired = opt.dataset_mode == "unaligned" and "fake_A" not in visuals  # else real_B is an input too
            for i, path in enumerate(paths[: count - len(names)]):
                name = result_name(path, names)
                images = {}
                for label, pictures in visuals.items():
                    file = f"images/{label}/{name}.png"
                    (folder / "images" / label).mkdir(parents=True, exist_ok=True)
                    save_image(tensor2im(pictures[i]), folder / file, opt.aspect_ratio)
                    images["another image of B" if unpaired and label == "real_B" else label] = file
                page.add(name, images)
                bar.update()
    aside = page.set_aside_others()
    if aside:
        print(f"the translations of an earlier call are now in {aside}")
    print(f"{plural(count, 'image')}: open {page.save()}")


def results_folder(opt) -> Path:
    """One for each phase and epoch; another for the generator alone (--model test) of a run of another model, whose
    pictures go by other names."""
    single = "_single" if opt.model == "test" != opt.trained_model else ""
    return Path(opt.results_dir) / opt.name / f"{opt.phase}_{opt.epoch}{single}"


def translated(model, batch: dict) -> tuple[dict[str, torch.Tensor], list[str]]:
    """The model's pictures by label, and the images' paths."""
    paths: list[str] = []

    def visuals_of(part: dict) -> dict[str, torch.Tensor]:
        model.set_input(part)
        model.test()
        paths.extend(model.get_image_paths())
        return model.get_current_visuals()

    return translate(visuals_of, batch, *model.networks().values()), paths


if __name__ == "__main__":
    run(main)
