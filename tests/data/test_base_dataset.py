import pickle
import random

import numpy as np
import pytest
import torch
from drawn import draw, make_opt
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from data.base_dataset import get_params, get_transform, scale, scaled_size, to_tensor, without_scaling
from util.errors import UserError
from util.images import normalize

WORDS = [
    "resize_and_crop",
    "crop",
    "scale_width",
    "scale_width_and_crop",
    "scale_shortside",
    "scale_shortside_and_crop",
    "zoom_and_patch",
    "zoom_and_crop",
    "resize",
    "trim",
    "none",
]


def opt_of(preprocess, **changes):
    return make_opt("", preprocess=preprocess, **changes)


def test_resize_and_crop_equals_torchvision():
    opt = opt_of("resize_and_crop", load_size=22)
    for flip in (True, False):
        ours = get_transform(opt, {"crop_pos": (3, 5), "flip": flip})(draw())
        theirs = transforms.Compose(
            [
                transforms.Resize((22, 22), transforms.InterpolationMode.BICUBIC),
                transforms.Lambda(lambda image: image.crop((3, 5, 19, 21))),
                transforms.RandomHorizontalFlip(float(flip)),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.5,) * 3),
            ]
        )(draw())
        assert torch.equal(ours, theirs)


def test_grayscale_equals_torchvision():
    ours = get_transform(opt_of("none", no_flip=True), grayscale=True)(draw(24, 16))
    assert ours.shape == (1, 16, 24)
    assert torch.equal(ours, transforms.ToTensor()(transforms.Grayscale(1)(draw(24, 16))).sub(0.5).div(0.5))


def test_tensor_range_and_memory():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    tensor = to_tensor(Image.fromarray(pixels))
    assert tensor.shape == (1, 16, 16) and tensor.min() == -1 and tensor.max() == 1
    assert to_tensor(draw()).is_contiguous()
    assert torch.equal(tensor[0], normalize(torch.from_numpy(pixels)))


@pytest.mark.parametrize(
    "words, size, expected",
    [
        ("resize_and_crop", (24, 18), (20, 20)),
        ("scale_width", (40, 30), (20, 16)),  # the height is never below crop_size
        ("scale_width", (10, 30), (20, 60)),
        ("scale_width", (20, 17), (20, 17)),
        ("scale_width_and_crop", (20, 10), (20, 16)),
        ("scale_shortside", (10, 15), (20, 30)),
        ("scale_shortside", (30, 22), (30, 22)),
        ("crop", (30, 22), (30, 22)),
        ("none", (30, 22), (30, 22)),
    ],
)
def test_scaled_size(words, size, expected):
    assert scaled_size(words, 20, 16, size) == expected


@pytest.mark.parametrize(
    "words, size, expected",
    [
        ("none", (22, 17), (24, 16)),  # 22 / 4 = 5.5 goes to the even neighbour, as Python rounds
        ("none", (1, 2), (4, 4)),
        ("scale_width", (40, 39), (20, 20)),
        ("scale_shortside", (10, 15), (20, 32)),
        ("resize", (40, 37), (20, 20)),
        ("crop", (40, 37), (16, 16)),
        ("zoom_and_patch", (40, 37), (16, 16)),
        ("zoom_and_patch", (5, 5), (16, 16)),
        ("trim", (40, 9), (16, 8)),
    ],
)
def test_sizes_of_the_words(words, size, expected):
    tensor = get_transform(opt_of(words))(draw(*size))
    assert tuple(tensor.shape[:0:-1]) == expected


@pytest.mark.parametrize("size, expected", [(8, (12, 8)), ((12, 20), (20, 12))])
def test_fixsize_takes_its_size_from_params(size, expected):
    image = get_transform(opt_of("fixsize", no_flip=True), {"size": size}, convert=False)(draw(27, 18))
    assert image.size == expected
    assert np.array_equal(image, transforms.Resize(size, transforms.InterpolationMode.BICUBIC)(draw(27, 18)))


def test_crop_positions_reach_every_corner_and_no_further():
    opt = opt_of("crop", no_flip=True)
    seen = {get_params(opt, (18, 17))["crop_pos"] for _ in range(200)}
    assert seen == {(x, y) for x in range(3) for y in range(2)}
    image = draw(18, 17)
    crops = {get_transform(opt, convert=False)(image).tobytes() for _ in range(200)}
    assert crops == {image.crop((x, y, x + 16, y + 16)).tobytes() for x, y in seen}


def test_crop_positions_follow_the_scaled_size():
    """scale_shortside enlarges: the crop may lie anywhere in the enlarged image."""
    opt = opt_of("scale_shortside_and_crop", load_size=32)
    assert max(get_params(opt, (8, 8))["crop_pos"][0] for _ in range(200)) == 16


def test_params_are_shared():
    opt = opt_of("resize_and_crop")
    transform = get_transform(opt, get_params(opt, (24, 18)))
    assert torch.equal(transform(draw()), transform(draw()))


@pytest.mark.parametrize("words", ["crop", "patch"])
def test_too_small_image_is_refused(words):
    with pytest.raises(UserError, match="12x40.*--crop_size 16"):
        get_transform(opt_of(words))(draw(12, 40))


def test_patches_tile_the_image():
    opt = opt_of("patch", no_flip=True)
    image = draw(48, 32)
    patches = [get_transform(opt, {"patch_index": i}, convert=False)(image) for i in range(7)]
    whole = np.zeros((32, 48, 3), dtype=np.uint8)
    for i, patch in enumerate(patches[:6]):
        x, y = i // 2 * 16, i % 2 * 16
        whole[y : y + 16, x : x + 16] = patch
    assert np.array_equal(whole, image)
    assert patches[6].tobytes() == patches[0].tobytes()  # numbers go round


def test_method_is_used():
    for method in (Image.BILINEAR, Image.NEAREST):
        image = get_transform(opt_of("resize", no_flip=True), method=method, convert=False)(draw())
        assert np.array_equal(image, draw().resize((20, 20), method))


@given(words=st.sampled_from(WORDS), width=st.integers(1, 60), height=st.integers(1, 60), seed=st.integers(0, 99))
@settings(max_examples=150)
def test_scaling_first_and_the_rest_later_is_the_same(words, width, height, seed):
    opt, image = opt_of(words), draw(width, height)
    random.seed(seed)
    try:
        whole = get_transform(opt)(image)
    except UserError:
        assert min(scaled_size(words, 20, 16, image.size)) < 16
        return
    assert whole.shape[1] % 4 == whole.shape[2] % 4 == 0
    random.seed(seed)
    parts = get_transform(without_scaling(opt))(scale(image, opt))
    assert torch.equal(whole, parts)


@pytest.mark.parametrize("words", WORDS)
def test_transforms_can_be_pickled(words):
    transform = pickle.loads(pickle.dumps(get_transform(opt_of(words), {"patch_index": 3})))
    assert transform(draw(40, 40)).dtype == torch.float32


def test_transform_list_can_be_read():
    assert get_transform(opt_of("none")).transforms[-1] is to_tensor
