"""The flags of train.py."""

from options.base_options import BaseOptions
from util.flag_types import count_or_inf, non_negative, non_negative_int, port_number, positive, positive_int, seconds

GAN_MODES = ["vanilla", "lsgan", "wgangp", "nonsaturating"]
LR_POLICIES = ["linear", "step", "plateau", "cosine"]


def add_train_options(parser) -> None:
    add = parser.add_argument
    with parser.group("optimization"):
        add("--n_epochs", type=non_negative_int, default=200, help="epochs at the initial learning rate")
        add("--n_epochs_decay", type=non_negative_int, default=200, help="further epochs in which it falls to zero")
        add("--lr", type=positive, default=0.0002, help="Adam's initial learning rate")
        add("--beta1", type=non_negative, default=0.5, help="Adam's first momentum")
        add("--beta2", type=non_negative, default=0.999, help="Adam's second momentum")
        add("--lr_policy", default="linear", choices=LR_POLICIES, help="learning-rate schedule")
        add("--lr_decay_iters", type=positive_int, default=50, help="epochs between the drops of the step schedule")
        add("--gan_mode", default="lsgan", choices=GAN_MODES, help="the adversarial objective")
        add("--pool_size", type=non_negative_int, default=50, help="translated images that the pool for D remembers")
        add("--ema_decay", type=non_negative, default=0.0, help="averaged copy of G: factor a step, or from 1 up its "
            "half-life in images; 0: none")  # fmt: skip
        add("--cuda_graph", action="store_true", help="record a training step once and repeat it on the GPU; "
            "experimental, see docs/performance.md")  # fmt: skip

    with parser.group("checkpoints"):
        add("--continue_train", action="store_true", help="go on from the latest checkpoint; needs no other flag")
        add("--epoch_count", type=positive_int, default=1, help="number of the first epoch; found by --continue_train")
        add("--save_latest_freq", type=positive_int, default=5000, help="images between two saves of `latest`")
        add("--save_epoch_freq", type=positive_int, default=5, help="epochs between two saves under the epoch's number")
        add("--save_latest_every", type=seconds, help="time between two saves of `latest`: 10m, 600s, 0.5h")
        add("--time_budget", type=seconds, help="save and exit after this time: 90m, 1.5h; exit status 75")
        add("--max_bad_steps", type=positive_int, default=20, help="stop after so many updates in a row with NaN, Inf")
        add("--keep_checkpoints", type=positive_int, help="keep the newest N epochs; all if left out")
        add("--save_by_iter", action="store_true", help="name the saves of `latest` by iteration and keep them")
        add("--evaluation_freq", type=positive_int, default=5000, help="accepted for compatibility; see --eval_freq")
        add("--pretrained_name", help="experiment whose weights training starts from")
        add("--phase", default="train", help="train, val or test: the start of the subfolders' names")

    with parser.group("scores"):
        add("--eval_freq", type=non_negative_int, default=5, help="epochs between scores of the test split; 0: none")
        add("--eval_num", type=count_or_inf, default=float("inf"), help="test images to evaluate at most")
        add("--eval_metric", help="score that `best` follows, such as FID or KID; by default the Frechet distance")
        add("--feature_space", default="auto", help="auto, inception, effnet_lite0 or an extractor of torch-fidelity")
        add("--inception_weights", help="file with the weights of FID's Inception network")
        add("--target_class", type=non_negative_int, help="ImageNet class that translations should show: zebra 340")

    with parser.group("monitoring"):
        add("--print_freq", type=positive_int, default=100, help="images between two lines of losses")
        add("--display_freq", type=positive_int, default=400, help="images between two sets of pictures in Visdom")
        add("--display_ncols", type=non_negative_int, default=4, help="pictures in a row in Visdom; 0: one window each")
        add("--display_id", type=int, help="0 or less switches Visdom off")
        add("--display_server", default="http://localhost", help="address of the Visdom server")
        add("--display_env", default="main", help="Visdom environment; main stands for the experiment's name")
        add("--display_port", type=port_number, default=8097, help="port of the Visdom server")
        add("--update_html_freq", type=positive_int, default=1000, help="images between updates of the training page")
        add("--no_html", action="store_true", help="no training page in checkpoints_dir/NAME/web")
        add("--tensorboard", action="store_true", help="also TensorBoard files, in checkpoints_dir/NAME/tensorboard")
        add("--quiet", action="store_true", help="print nothing but warnings")


class TrainOptions(BaseOptions):
    is_train = True
