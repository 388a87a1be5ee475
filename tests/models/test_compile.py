"""--compile: two steps of every model on the graphs that a compiler would get, run by torch itself (aot_eager)."""

from collections import Counter

import pytest
import torch
from drawn_family import options_of, pair_batch

from models import create_model

TINY = "--ngf 2 --ndf 2 --netG resnet_4blocks --netD pixel"
CONTRASTIVE = f"{TINY} --netF_nc 4 --num_patches 4 --nce_layers 0,4"
SINGLE = "--ngf 1 --ndf 1 --netF_nc 4 --num_patches 4 --crop_size 16 --load_size 16 --batch_size 2"
MODELS = {
    "cut": CONTRASTIVE,
    "negcut": f"{CONTRASTIVE} --precision bf16 --channels_last",  # as --fast does on a GPU
    "negcut --netN neg_gen_al --NEGCUT_mode FastNEGCUT": CONTRASTIVE,
    "cycle_gan": TINY,
    "pix2pix": TINY,
    "template": TINY,
    "sincut": SINGLE,
    "sinnegcut": SINGLE,
}


@pytest.fixture
def graphs(monkeypatch) -> Counter:
    """Compiled graphs by network."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    counts: Counter = Counter()
    compile = torch.compile

    def counting(method, **settings):
        def backend(graph, inputs):
            counts[method.__self__] += 1
            return torch._dynamo.backends.debugging.aot_eager(graph, inputs)

        return compile(method, backend=backend, **settings)

    monkeypatch.setattr(torch, "compile", counting)
    yield counts
    torch._dynamo.reset()


def model_of(folder, flags: str, *more: str):
    torch.manual_seed(0)
    model = create_model(opt := options_of(folder, "--model", *flags.split(), *more))
    model.setup(opt)
    return model


def two_steps(model) -> list[dict[str, float]]:
    losses = []
    for seed in range(2):
        model.step(pair_batch([seed] if model.opt.batch_size == 1 else [seed, seed + 2], 16))
        losses.append(model.get_current_losses())
    return losses


@pytest.mark.slow
@pytest.mark.parametrize("flags", [f"{name} {flags}" for name, flags in MODELS.items()], ids=MODELS)
def test_every_network_is_compiled_and_the_steps_are_the_same(flags, graphs, tmp_path, capsys):
    model = model_of(tmp_path, flags, "--compile")
    losses = two_steps(model)
    counts = {name: graphs[net] for name, net in model.networks().items()}
    alone = {"D"} if flags.startswith("sin") else set()
    assert {name for name, count in counts.items() if count == 0} == alone, counts
    assert capsys.readouterr().err.count("--compile leaves D out: R1 differentiates its gradient") == len(alone)
    assert not torch._dynamo.utils.counters["graph_break"]
    for compiled, plain in zip(losses, two_steps(model_of(tmp_path, flags)), strict=True):
        assert compiled == pytest.approx(plain, rel=1e-2 if "bf16" in flags else 1e-4, abs=1e-5)
