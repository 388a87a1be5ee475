"""Which calls of define_G and define_D mean CycleGAN's networks."""

import pytest

from models import networks
from models.networks import cyclegan_calls

G = (3, 3, 2, "resnet_4blocks", "instance", False, "normal", 0.02)
D = (3, 2, "basic", 3, "instance", "normal", 0.02)


def has_blurs(net) -> bool:
    return any(key.endswith(".filt") for key in net.state_dict())


@pytest.mark.parametrize("gpu_ids", [(), ([],)])
def test_cyclegans_form_has_no_antialiasing(gpu_ids, monkeypatch, capsys):
    monkeypatch.setattr(cyclegan_calls, "announced", set())
    assert not has_blurs(networks.define_G(*G, *gpu_ids))
    assert not has_blurs(networks.define_D(*D, *gpu_ids))
    assert capsys.readouterr().out.count("\n") == 1  # one line for both


@pytest.mark.parametrize(
    "define, args, kwargs",
    [
        ("define_G", (*G, False, False, []), {}),
        ("define_G", (*G, False), {}),
        ("define_G", G, {"gpu_ids": []}),
        ("define_G", G[:7], {}),
        ("define_D", (*D, False, []), {}),
        ("define_D", D, {"opt": None}),
        ("define_D", D[:6], {}),
    ],
)
def test_any_other_call_is_cuts(define, args, kwargs):
    assert has_blurs(getattr(networks, define)(*args, **kwargs))


def test_a_switch_in_the_place_of_the_list_is_a_switch():
    assert not has_blurs(networks.define_D(*D, True))
    net = networks.define_G(*G, True)  # without blurs on the way down, with them on the way up
    assert [key for key in net.state_dict() if key.endswith(".filt")] and "model.7.weight" in net.state_dict()


def test_they_keep_their_signature():
    import inspect

    assert list(inspect.signature(networks.define_G).parameters)[8:10] == ["no_antialias", "no_antialias_up"]
