"""The flags that training and testing share. Names and defaults are those of the official CUT code."""

import shlex
from argparse import Namespace

from util import pictures
from util.device_kinds import PRECISIONS
from util.device_kinds import add_flags as add_device_flags
from util.errors import run
from util.flag_types import SWITCH, count_or_inf, non_negative_int, norm_name, positive, positive_int

NETWORKS_G = ["resnet_9blocks", "resnet_6blocks", "resnet_4blocks", "unet_256", "unet_128"]
NETWORKS_G += ["stylegan2", "smallstylegan2", "resnet_cat"]
NETWORKS_D = ["basic", "n_layers", "pixel", "patch", "tilestylegan2", "stylegan2"]
NORMS = ["instance", "batch", "syncbatch", "none"]
INIT_TYPES = ["normal", "xavier", "kaiming", "orthogonal"]


def add_base_options(parser) -> None:
    add = parser.add_argument
    with parser.group("experiment"):
        add("--name", default="experiment_name", help="the experiment's name: its files go to checkpoints_dir/NAME")
        add("--easy_label", default="", help="a readable title for the pages")
        add("--checkpoints_dir", default="./checkpoints", help="folder of all experiments")
        add("--suffix", default="", help="appended to the name: e.g. {model}_{netG}_size{load_size}")
        add("--epoch", default="latest", help="which checkpoint to load: latest, best, an epoch's number or iter_N")
        add("--seed", type=non_negative_int, default=0, help="fixes weights, data order, augmentation, patches, noise")
        add_device_flags(add, default_ids="0")
        add("--fast", action="store_true",
            help="choose --precision, --channels_last and --compile for this machine; given ones win")  # fmt: skip
        add("--precision", default="fp32", choices=PRECISIONS,
            help="arithmetic inside the networks; their outputs, losses and losses' gradients are fp32")  # fmt: skip
        add("--channels_last", action="store_true", help="keep images with their channels innermost in memory")
        add("--compile", action="store_true", help="compile the networks; the first steps then take minutes")
        add("--use_wandb", action="store_true", help="also log to Weights & Biases (pip install wandb)")
        add("--wandb_project_name", default="CycleGAN-and-pix2pix", help="the project there")
        add("--verbose", action="store_true", help="print all options, and the networks in full")

    with parser.group("model"):
        add("--model", default="cut", help="which model: a file models/MODEL_model.py, such as negcut or cut")
        add("--input_nc", type=positive_int, default=3, help="input channels: 3 for RGB, 1 for grayscale")
        add("--output_nc", type=positive_int, default=3, help="output channels: 3 for RGB, 1 for grayscale")
        add("--netG", default="resnet_9blocks", choices=NETWORKS_G, help="generator architecture")
        add("--ngf", type=positive_int, default=64, help="generator filters in the last convolution")
        add("--netD", default="basic", choices=NETWORKS_D, help="discriminator; basic is a 70x70 PatchGAN")
        add("--ndf", type=positive_int, default=64, help="discriminator filters in the first convolution")
        add("--n_layers_D", type=positive_int, default=3, help="discriminator layers, used if netD is n_layers")
        add("--D_patch_size", type=positive_int, help="pixels of a tile if netD is tilestylegan2; none: whole image")
        add("--normG", type=norm_name, default="instance", choices=NORMS,
            help="normalization in G; syncbatch: batch norm over the images of all processes")  # fmt: skip
        add("--normD", type=norm_name, default="instance", choices=NORMS, help="normalization in D")
        add("--init_type", default="xavier", choices=INIT_TYPES, help="initial weights")
        add("--init_gain", type=positive, default=0.02, help="scale of normal, xavier and orthogonal initial weights")
        add("--no_dropout", **SWITCH, default=True, help="no dropout in G")
        add("--no_antialias", action="store_true", help="strided convolutions instead of anti-aliased downsampling")
        add("--no_antialias_up", action="store_true", help="transposed convolutions instead of anti-aliased upsampling")
        add("--stylegan2_G_num_downsampling", type=positive_int, default=1, help="downsampling steps in a StyleGAN2 G")

    with parser.group("data"):
        add("--dataroot", default="placeholder", help="folder that holds the folders trainA, trainB, testA, testB")
        add("--dataset_mode", default="unaligned", help="how images are loaded: a file data/MODE_dataset.py")
        add("--direction", default="AtoB", choices=["AtoB", "BtoA"], help="which way to translate")
        add("--serial_batches", action="store_true", help="images in order instead of shuffled pairs")
        add("--num_threads", type=non_negative_int, default=4, help="worker processes that load images")
        add("--batch_size", type=positive_int, default=1, help="images per step")
        add("--load_size", type=positive_int, default=286, help="pixels: images are scaled to this size")
        add("--crop_size", type=positive_int, default=256, help="pixels: then cropped to this size")
        add("--max_dataset_size", type=count_or_inf, default=float("inf"), help="images to use at most")
        add("--preprocess", default="resize_and_crop", help="resize_and_crop | crop | scale_width | "
            "scale_width_and_crop | scale_shortside | scale_shortside_and_crop | fixsize | zoom_and_patch | trim | "
            "none")  # fmt: skip
        add("--no_flip", action="store_true", help="no random mirroring")
        add("--random_scale_max", type=positive, default=3.0, help="largest zoom of the single-image data")
        add("--cache", default="auto", choices=["auto", "ram", "none"], help="keep resized images in memory")
        pictures.add_flags(add)
        add("--display_winsize", type=positive_int, default=256, help="pixels: width of images on pages and in Visdom")


class BaseOptions:
    """The official interface, for training and testing scripts of others: ``TrainOptions().parse()``."""

    is_train = True

    def __init__(self, cmd_line: str | None = None):
        self.argv = None if cmd_line is None else shlex.split(cmd_line)

    def parse(self) -> Namespace:
        """The resolved options, printed and, for training, written; a mistake ends the script with one sentence."""
        import options  # which imports this file

        self.opt = run(options.parse_for_others, self.argv, self.is_train)
        return self.opt
