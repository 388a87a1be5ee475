"""Which sides, in pixels, the networks that ``opt`` names can take; it names none where a dataset is used by itself."""


def smallest_side(opt) -> int:
    """Pixels that an image needs in each direction: fewer leave a convolution of D, in tests of G, without room."""
    layers = {"basic": 3, "n_layers": getattr(opt, "n_layers_D", 3)}.get(getattr(opt, "netD", ""), 0)
    return max(8, 3 * 2**layers) if opt.isTrain else 8


def side_multiple(opt) -> int:
    """What sides must be multiples of: a U-Net halves them down to one pixel; ``get_transform`` sees to 4."""
    netG = getattr(opt, "netG", "")
    return {"unet_128": 128, "unet_256": 256}.get(netG, 4)
