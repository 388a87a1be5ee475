"""Keys, outputs and features against the recorded numbers of the published architectures (float64)."""

import json
import os
from argparse import Namespace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from models import networks
from models.base_model import BaseModel
from models.inference.architecture import load_weights

FOLDER = os.environ.get("NEGCUT_REFERENCE_DIR")
CASES = json.loads((Path(FOLDER) / "networks" / "networks.json").read_text()) if FOLDER else []
NAMES = [f"{case['case']}-{case.get('netG') or case.get('netD')}-{case['norm']}" for case in CASES]

RECORDED = [case for case in CASES if case["case"]]

pytestmark = pytest.mark.skipif(not FOLDER, reason="NEGCUT_REFERENCE_DIR does not name the reference numbers")


@cache
def arrays():
    return np.load(Path(FOLDER) / "networks" / "networks.npz")


def build(case):
    opt = Namespace(**case.get("opt", {}))
    if case["network"] == "G":
        names = "input_nc output_nc ngf netG norm use_dropout no_antialias no_antialias_up"
        return networks.define_G(**{name: case[name] for name in names.split()}, opt=opt)
    names = "input_nc ndf netD n_layers_D norm no_antialias"
    return networks.define_D(**{name: case[name] for name in names.split()}, opt=opt)


def assert_same(ours, recorded):
    """The recorded value is rounded to float32: half a unit in its last place, and rounding of float64."""
    ours, recorded = ours.detach().numpy(), recorded.astype(np.float64)
    assert ours.shape == recorded.shape
    assert np.all(np.abs(ours - recorded) <= 2.0**-24 * np.abs(recorded) + 1e-12 * np.abs(recorded).max())


def rectified_in_place(model, layer):
    """Whether the published code gives this layer's feature as the in-place ReLU after it leaves it."""
    after = [module for module in model[layer + 1 :] if not isinstance(module, nn.Identity)]
    return not isinstance(model[layer], nn.ReLU) and isinstance(after[0], nn.ReLU)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_keys_and_shapes(case):
    net = build(case)
    assert [[key, list(value.shape)] for key, value in net.state_dict().items()] == case["state_dict"]
    if "parameters" in case:
        assert sum(parameter.numel() for parameter in net.parameters()) == case["parameters"]


@pytest.mark.parametrize("case", RECORDED, ids=NAMES[: len(RECORDED)])
def test_outputs_and_features(case):
    net = build(case).double()
    data, name = arrays(), case["case"]
    weights = {
        key: torch.from_numpy(data[f"{name}/weight/{key}"].copy())
        for key, _ in case["state_dict"]
        if f"{name}/weight/{key}" in data
    }
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert unexpected == [] and set(missing) == set(case["fixed_filters"])
    net.train(case["mode"] == "train")
    layers = [int(key.rsplit("/", 1)[1]) for key in data.files if key.startswith(f"{name}/feature/")]
    x = torch.from_numpy(data[f"{name}/input"]).double()
    with torch.no_grad():
        assert_same(net(x), data[f"{name}/output"])
        if layers:
            for layer, feature in zip(layers, net(x, layers, encode_only=True), strict=True):
                assert_same(
                    F.relu(feature) if rectified_in_place(net.model, layer) else feature,
                    data[f"{name}/feature/{layer}"],
                )
            assert net.feature_channels(layers) == [data[f"{name}/feature/{layer}"].shape[1] for layer in layers]


def published_file(case, path, prefix="", with_filters=True):
    """The recorded weights as the published code would save them."""
    weights = build(case).state_dict()  # in order, and with the filters
    for key in [key for key in weights if f"{case['case']}/weight/{key}" in arrays()]:
        recorded = arrays()[f"{case['case']}/weight/{key}"]
        weights[key] = torch.from_numpy(recorded.copy()).to(weights[key].dtype)  # counters are integers
    if not with_filters:
        weights = {key: value for key, value in weights.items() if key not in case["fixed_filters"]}
    torch.save({prefix + key: value for key, value in weights.items()}, path)


@pytest.mark.parametrize("prefix, with_filters", [("", True), ("module.", False)])
@pytest.mark.parametrize("case", RECORDED, ids=NAMES[: len(RECORDED)])
def test_files_go_both_ways(case, prefix, with_filters, tmp_path):
    """A published file, loaded and saved by us, is byte for byte the same tensors under the same names, in order."""
    published_file(case, tmp_path / "published.pth")
    published_file(case, tmp_path / "other.pth", prefix, with_filters)
    net = build(case)
    load_weights(net, tmp_path / "other.pth", "")
    BaseModel.save_networks(Namespace(save_dir=tmp_path, networks=lambda: {"G": net}), "latest")
    ours = torch.load(tmp_path / "latest_net_G.pth", weights_only=True)
    published = torch.load(tmp_path / "published.pth", weights_only=True)
    assert [[key, list(value.shape)] for key, value in ours.items()] == case["state_dict"]
    for key, value in published.items():
        assert ours[key].dtype == value.dtype and torch.equal(ours[key], value), key
