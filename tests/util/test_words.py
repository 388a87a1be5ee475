from util.words import aligned, did_you_mean, plural


def test_counted():
    assert [plural(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_did_you_mean():
    assert did_you_mean("--netgG", ["--netG", "--netD", "--lr"]) == " (did you mean --netG?)"
    assert did_you_mean("something", ["--netG"]) == ""


def test_aligned():
    rows = [{"image": "a", "error": 12.345, "gone": None}, {"image": "longer", "error": 123.45, "count": 3}]
    assert aligned(rows).splitlines() == ["image   error  count", "a        12.3      -", "longer  123.5      3"]
