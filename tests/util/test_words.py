from util.words import did_you_mean, plural


def test_counted():
    assert [plural(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]


def test_did_you_mean():
    assert did_you_mean("--netgG", ["--netG", "--netD", "--lr"]) == " (did you mean --netG?)"
    assert did_you_mean("something", ["--netG"]) == ""
