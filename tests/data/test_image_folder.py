import os
import struct
import zlib

import numpy as np
import pytest
from drawn import draw, draw_folder
from PIL import Image, ImageCms

from data.image_folder import ImageFolder, check_images, make_dataset, open_image
from util.errors import UserError


def test_make_dataset_is_sorted_recursive_and_limited(tmp_path):
    draw_folder(tmp_path / "b", 2)
    draw_folder(tmp_path / "a" / "deep", 1)
    (tmp_path / "note.txt").write_text("no image")
    draw().save(tmp_path / "UPPER.JPG")
    names = [os.path.relpath(path, tmp_path) for path in make_dataset(str(tmp_path))]
    assert names == ["UPPER.JPG", "a/deep/000.png", "b/000.png", "b/001.png"]
    assert len(make_dataset(str(tmp_path), 3)) == 3


def test_hidden_files_are_left_out(tmp_path):
    draw_folder(tmp_path / ".ipynb_checkpoints", 1)
    draw_folder(tmp_path, 1)
    (tmp_path / "._000.png").write_bytes(b"resource fork")
    assert [os.path.basename(path) for path in make_dataset(str(tmp_path))] == ["000.png"]


def test_links_are_followed_and_loops_end(tmp_path):
    outside = draw_folder(tmp_path / "outside", 2)
    inside = draw_folder(tmp_path / "inside", 1)
    (inside / "link").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (tmp_path / "root").symlink_to(inside)
    assert len(make_dataset(str(tmp_path / "root"))) == 3


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        make_dataset(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "name", ["with space.png", "new\nline.png", "<b>&.png", "-x.png", "ü漢.png", "n" * 251 + ".png"]
)
def test_odd_names(tmp_path, name):
    draw().save(tmp_path / name)
    paths = make_dataset(str(tmp_path))
    assert [os.path.basename(path) for path in paths] == [name]
    assert [facts.size for facts in check_images(paths)] == [(24, 18)]
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError) as error:
        check_images(paths)
    assert "\n" not in str(error.value)


UPRIGHT = {  # EXIF orientation -> how the stored pixels become upright
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x.swapaxes(0, 1)[::-1, ::-1],
    8: lambda x: x.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("ending", ["png", "tif", "webp", "jpg"])
def test_exif_orientation(tmp_path, orientation, ending):
    path = str(tmp_path / f"x.{ending}")
    exif = Image.Exif()
    exif[0x0112] = orientation
    draw(24, 16).save(path, exif=exif, **({"lossless": True} if ending == "webp" else {}))
    stored = np.asarray(draw(24, 16)).astype(int)
    if ending == "jpg":
        draw(24, 16).save(tmp_path / "plain.jpg")
        stored = np.asarray(Image.open(tmp_path / "plain.jpg")).astype(int)
    expected = UPRIGHT[orientation](stored)
    assert np.array_equal(np.asarray(open_image(path)), expected)
    assert check_images([path])[0].size == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_grayscale(tmp_path, ending):
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    path = str(tmp_path / f"x.{ending}")
    Image.fromarray(values).save(path)
    gray = open_image(path, channels=1)
    assert gray.mode == "L" and np.asarray(gray).tolist() == [[0, 0, 1, 1, 128, 255]]
    color = open_image(path)
    assert color.mode == "RGB" and np.asarray(color)[0, :, 2].tolist() == [0, 0, 1, 1, 128, 255]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_32_bit_pixels_are_refused(tmp_path, dtype):
    path = str(tmp_path / "x.tif")
    Image.fromarray(np.array([[0, 70000]], dtype=dtype)).save(path)
    for read in (open_image, lambda path: check_images([path])):
        with pytest.raises(UserError, match="x.tif.*(float|32-bit) values, 0 to 70000.*--value_range"):
            read(path)


def test_transparent_parts_become_white(tmp_path):
    pixels = np.zeros((1, 3, 4), dtype=np.uint8)
    pixels[0, :] = [(200, 0, 0, 255), (200, 0, 0, 0), (200, 0, 0, 128)]
    image = Image.fromarray(pixels, "RGBA")
    image.save(tmp_path / "rgba.png")
    result = np.asarray(open_image(str(tmp_path / "rgba.png")))[0]
    assert result[0].tolist() == [200, 0, 0] and result[1].tolist() == [255, 255, 255]
    assert np.abs(result[2].astype(int) - [227, 127, 127]).max() <= 1
    image.convert("LA").save(tmp_path / "la.png")
    assert np.asarray(open_image(str(tmp_path / "la.png"), channels=1))[0, 1] == 255

    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png")
    palette.save(tmp_path / "p_transparent.png", transparency=1)
    assert np.asarray(open_image(str(tmp_path / "p.png"))).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    transparent = np.asarray(open_image(str(tmp_path / "p_transparent.png")))
    assert transparent.tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "RGB"])
def test_other_modes(tmp_path, mode):
    path = str(tmp_path / "x.tif")
    draw().convert(mode).save(path)
    expected = draw().convert(mode)
    for channels, wanted in ((3, "RGB"), (1, "L")):
        image = open_image(path, channels)
        via_rgb = expected if expected.mode in ("L", "CMYK") else expected.convert("RGB")
        assert image.mode == wanted and np.array_equal(np.asarray(image), np.asarray(via_rgb.convert(wanted)))


def test_colour_profile_is_applied(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # A profile in which the first channel is green and the second red: sRGB's with two entries exchanged.
    swapped = srgb.replace("sRGB".encode("utf-16-be"), "xRGB".encode("utf-16-be"))
    table = swapped[128:400].replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    swapped = swapped[:128] + table + swapped[400:]
    image = Image.new("RGB", (4, 4), (250, 10, 60))
    for name, profile, expected in (
        ("srgb", srgb, (250, 10, 60)),
        ("swapped", swapped, (10, 250, 60)),
        ("damaged", srgb[:100], (250, 10, 60)),
    ):
        image.save(tmp_path / f"{name}.png", icc_profile=profile)
        pixel = open_image(str(tmp_path / f"{name}.png")).getpixel((0, 0))
        assert np.abs(np.subtract(pixel, expected)).max() <= (2 if name == "swapped" else 0), name


def png_that_declares(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


def bad_files(folder):
    draw(200, 200).save(folder / "good.jpg", quality=95)
    draw(200, 200).save(folder / "good.png")
    draw(200, 200).save(folder / "good.webp")
    for ending in ("jpg", "png", "webp"):
        whole = (folder / f"good.{ending}").read_bytes()
        (folder / f"truncated.{ending}").write_bytes(whole[: len(whole) * 2 // 3])
    damaged = bytearray((folder / "good.png").read_bytes())
    damaged[len(damaged) // 2] ^= 255
    return {
        "truncated.jpg": None,
        "truncated.png": None,
        "truncated.webp": None,
        "damaged.png": bytes(damaged),
        "zero.jpg": b"",
        "text.png": b"<html>not found</html>",
        "bomb.png": png_that_declares(60000, 60000),
        "gone.png": None,
    }


def test_bad_files_are_named(tmp_path):
    bad = bad_files(tmp_path)
    for name, content in bad.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
    for name in bad:
        path = str(tmp_path / name)
        with pytest.raises(UserError) as opened:
            open_image(path)
        with pytest.raises(UserError) as checked:
            check_images([path])
        for error in (opened, checked):
            assert name in str(error.value) and "\n" not in str(error.value)
    assert "0 bytes" in str(pytest.raises(UserError, open_image, str(tmp_path / "zero.jpg")).value)


def test_check_lists_the_first_bad_files_and_their_number(tmp_path):
    draw_folder(tmp_path, 4)
    for i in range(5):
        (tmp_path / f"bad{i}.png").write_bytes(b"")
    with pytest.raises(UserError, match="5 of 9.*bad0.*bad1.*bad2.*2 more") as error:
        check_images(make_dataset(str(tmp_path)))
    assert "bad3" not in str(error.value)


def test_jpeg_with_bytes_after_its_end_is_good(tmp_path):
    path = tmp_path / "x.jpg"
    draw().save(path)
    path.write_bytes(path.read_bytes() + bytes(1000))
    assert check_images([str(path)])[0].size == (24, 18)


def test_image_folder_as_official_dataset_files_use_it(tmp_path):
    draw_folder(tmp_path / "images", 2)
    images = ImageFolder(str(tmp_path / "images"), transform=lambda image: image.size, return_paths=True)
    assert len(images) == 2
    assert images[1] == ((24, 18), str(tmp_path / "images" / "001.png"))
    assert np.array_equal(np.asarray(ImageFolder(str(tmp_path / "images"))[0]), np.asarray(draw(seed=0)))
    with pytest.raises(UserError, match="empty"):
        (tmp_path / "empty").mkdir()
        ImageFolder(str(tmp_path / "empty"))
