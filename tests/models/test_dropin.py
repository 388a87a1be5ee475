"""A model and a dataset file in the style of the official CUT code run as they are: train, save, resume, test,
translate. So do the examples of docs/extending.md."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image
from program_copy import ROOT, copy_program, draw_images, run_in

MODEL = '''
import itertools
import torch
import torch.nn as nn
from .base_model import BaseModel
from . import networks
from .patchnce import PatchNCELoss
import util.util as util
from util.image_pool import ImagePool


class LazyGain(nn.Module):
    """Its layer is made in the first forward pass."""
    def __init__(self, init_type='normal', init_gain=0.02, gpu_ids=[]):
        super(LazyGain, self).__init__()
        self.gain_init = False
        self.init_type = init_type
        self.init_gain = init_gain
        self.gpu_ids = gpu_ids

    def forward(self, x):
        if not self.gain_init:
            self.conv = nn.Conv2d(x.shape[1], x.shape[1], 1)
            if len(self.gpu_ids) > 0:
                self.conv.cuda()
            networks.init_net(self, self.init_type, self.init_gain, self.gpu_ids)
            self.gain_init = True
        return torch.tanh(x + self.conv(x))


class OldStyleModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.add_argument('--lambda_GAN', type=float, default=1.0, help='weight for GAN loss')
        parser.add_argument('--lambda_NCE', type=float, default=1.0, help='weight for NCE loss')
        parser.add_argument('--nce_idt', type=util.str2bool, nargs='?', const=True, default=False, help='use NCE loss')
        parser.add_argument('--nce_layers', type=str, default='0,4,8', help='compute NCE loss on which layers')
        parser.add_argument('--nce_includes_all_negatives_from_minibatch', type=util.str2bool, nargs='?', const=True,
                            default=False)
        parser.add_argument('--netF', type=str, default='mlp_sample', choices=['sample', 'reshape', 'mlp_sample'])
        parser.add_argument('--netF_nc', type=int, default=256)
        parser.add_argument('--nce_T', type=float, default=0.07, help='temperature for NCE loss')
        parser.add_argument('--num_patches', type=int, default=256, help='number of patches per layer')
        parser.set_defaults(pool_size=0)
        opt, _ = parser.parse_known_args()
        if opt.netF_nc == 256:
            parser.set_defaults(nce_idt=True, lambda_NCE=1.0)
        return parser

    def __init__(self, opt):
        BaseModel.__init__(self, opt)
        self.loss_names = ['G_GAN', 'D_real', 'D_fake', 'G', 'NCE']
        self.visual_names = ['real_A', 'fake_B', 'real_B']
        self.nce_layers = [int(i) for i in self.opt.nce_layers.split(',')]
        if self.isTrain:
            self.model_names = ['G', 'E', 'F', 'D']
        else:
            self.model_names = ['G', 'E']
        self.netG = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.normG, not opt.no_dropout,
                                      opt.init_type, opt.init_gain, opt.no_antialias, opt.no_antialias_up,
                                      self.gpu_ids, opt)
        self.netF = networks.define_F(opt.input_nc, opt.netF, opt.normG, not opt.no_dropout, opt.init_type,
                                      opt.init_gain, opt.no_antialias, self.gpu_ids, opt)
        self.netE = LazyGain(opt.init_type, opt.init_gain, self.gpu_ids)
        if self.isTrain:
            self.netD = networks.define_D(opt.output_nc, opt.ndf, opt.netD, opt.n_layers_D, opt.normD, opt.init_type,
                                          opt.init_gain, opt.no_antialias, self.gpu_ids, opt)
            self.fake_pool = ImagePool(opt.pool_size)
            self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
            self.criterionNCE = []
            for nce_layer in self.nce_layers:
                self.criterionNCE.append(PatchNCELoss(opt).to(self.device))
            self.criterionIdt = torch.nn.L1Loss().to(self.device)
            self.optimizer_D = torch.optim.Adam(self.netD.parameters(), lr=opt.lr, betas=(opt.beta1, opt.beta2))
            self.optimizers.append(self.optimizer_D)

    def data_dependent_initialize(self, data):
        self.set_input(data)
        bs_per_gpu = self.real_A.size(0) // max(len(self.opt.gpu_ids), 1)
        self.real_A = self.real_A[:bs_per_gpu]
        self.forward()
        if self.opt.isTrain:
            self.compute_D_loss().backward()
            self.compute_G_loss().backward()
            self.optimizer_G = torch.optim.Adam(itertools.chain(self.netG.parameters(), self.netE.parameters()),
                                                lr=self.opt.lr, betas=(self.opt.beta1, self.opt.beta2))
            self.optimizer_F = torch.optim.Adam(self.netF.parameters(), lr=self.opt.lr)
            self.optimizers.append(self.optimizer_G)
            self.optimizers.append(self.optimizer_F)

    def optimize_parameters(self):
        self.forward()
        self.set_requires_grad(self.netD, True)
        self.optimizer_D.zero_grad()
        self.loss_D = self.compute_D_loss()
        self.loss_D.backward()
        self.optimizer_D.step()
        self.set_requires_grad(self.netD, False)
        self.optimizer_G.zero_grad()
        self.optimizer_F.zero_grad()
        self.loss_G = self.compute_G_loss()
        self.loss_G.backward()
        self.optimizer_G.step()
        self.optimizer_F.step()

    def set_input(self, input):
        AtoB = self.opt.direction == 'AtoB'
        self.real_A = input['A' if AtoB else 'B'].to(self.device)
        self.real_B = input['B' if AtoB else 'A'].to(self.device)
        self.image_paths = input['A_paths' if AtoB else 'B_paths']

    def forward(self):
        self.fake_B = self.netE(self.netG(self.real_A))

    def compute_D_loss(self):
        fake = self.fake_pool.query(self.fake_B.detach())
        self.loss_D_fake = self.criterionGAN(self.netD(fake), False).mean()
        self.loss_D_real = self.criterionGAN(self.netD(self.real_B), True).mean()
        return (self.loss_D_fake + self.loss_D_real) * 0.5

    def compute_G_loss(self):
        self.loss_G_GAN = self.criterionGAN(self.netD(self.fake_B), True).mean() * self.opt.lambda_GAN
        feat_q = self.netG(self.fake_B, self.nce_layers, encode_only=True)
        feat_k = self.netG(self.real_A, self.nce_layers, encode_only=True)
        feat_k_pool, sample_ids = self.netF(feat_k, self.opt.num_patches, None)
        feat_q_pool, _ = self.netF(feat_q, self.opt.num_patches, sample_ids)
        self.loss_NCE = 0.0
        for f_q, f_k, crit, nce_layer in zip(feat_q_pool, feat_k_pool, self.criterionNCE, self.nce_layers):
            self.loss_NCE += (crit(f_q, f_k) * self.opt.lambda_NCE).mean() / len(self.nce_layers)
        return self.loss_G_GAN + self.loss_NCE
'''

DATASET = """
import os.path
import random
from PIL import Image
from data.base_dataset import BaseDataset, get_params, get_transform
from data.image_folder import make_dataset
import util.util as util


class TwoFoldersDataset(BaseDataset):
    def __init__(self, opt):
        BaseDataset.__init__(self, opt)
        self.dir_A = os.path.join(opt.dataroot, opt.phase + 'A')
        self.dir_B = os.path.join(opt.dataroot, opt.phase + 'B')
        self.A_paths = sorted(make_dataset(self.dir_A, opt.max_dataset_size))
        self.B_paths = sorted(make_dataset(self.dir_B, opt.max_dataset_size))
        self.A_size = len(self.A_paths)
        self.B_size = len(self.B_paths)

    def __getitem__(self, index):
        A_path = self.A_paths[index % self.A_size]
        if self.opt.serial_batches:
            index_B = index % self.B_size
        else:
            index_B = random.randint(0, self.B_size - 1)
        B_path = self.B_paths[index_B]
        A_img = Image.open(A_path).convert('RGB')
        B_img = Image.open(B_path).convert('RGB')
        is_finetuning = self.opt.isTrain and self.current_epoch > self.opt.n_epochs
        modified_opt = util.copyconf(self.opt, load_size=self.opt.crop_size if is_finetuning else self.opt.load_size)
        params = get_params(modified_opt, A_img.size)
        A = get_transform(modified_opt, params)(A_img)
        B = get_transform(modified_opt)(B_img)
        return {'A': A, 'B': B, 'A_paths': A_path, 'B_paths': B_path}

    def __len__(self):
        return max(self.A_size, self.B_size)
"""

RUN = """
import sys
sys.path.insert(0, "")
import torch
torch.set_num_threads(1)

def run(script, *flags):
    sys.argv = [script + ".py", "--name", "old", "--gpu_ids", "-1", *flags]
    try:
        __import__(script).main()
    except SystemExit as end:
        assert end.code == 0, end.code

train = "--dataroot data_here --model old_style --dataset_mode two_folders --netG resnet_4blocks --ngf 2 --ndf 2"
train += " --netF_nc 8 --num_patches 16 --pool_size 3 --load_size 36 --crop_size 32 --batch_size 2 --num_threads 0"
train += " --n_epochs_decay 0 --print_freq 2 --display_freq 2 --update_html_freq 4 --save_latest_freq 4"
train += " --save_epoch_freq 1 --display_id 0 --eval_freq 0 --precision bf16"
run("train", *train.split(), "--n_epochs", "1")
run("train", "--continue_train", "--n_epochs", "2")
run("test", "--num_test", "3")

from PIL import Image
from util.translator import Translator
Translator("checkpoints/old", device="cpu")(Image.open("data_here/testA/0.png")).save("one.png")

tiny = "--netG resnet_4blocks --ngf 2 --ndf 2 --netF_nc 8 --num_patches 16 --load_size 36 --crop_size 32"
tiny += " --num_threads 0 --n_epochs 1 --n_epochs_decay 0 --print_freq 1 --display_id 0 --eval_freq 0"
arrays = " --name arrays --model tonecut --dataset_mode arrays --dataroot arrays_here --netG plain --nce_layers 0,2,4"
run("train", *(tiny + arrays + " --input_nc 4 --output_nc 4").split())
run("train", *(tiny + " --name noise --model negcut --netN neg_noise --dataroot data_here").split())
"""


def add_examples(folder):
    """What docs/extending.md says to add: blocks that name their file, a branch, a line."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL)
    for block in blocks:
        if block.startswith("# "):
            path = folder / block.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(exist_ok=True)  # scripts, which the copy has none of
            path.write_text((path.read_text() if path.exists() else "") + "\n\n" + block)
    (branch,) = [block for block in blocks if block.startswith("    elif netG")]
    edits = {
        "models/networks/__init__.py": [('    elif netG == "resnet_cat"', f'{branch}    elif netG == "resnet_cat"')],
        "options/base_options.py": [("NETWORKS_G = [", 'NETWORKS_G = ["plain", ')],
    }
    edits["models/networks/__init__.py"].append(
        ("from argparse import", "from models.networks.plain import PlainGenerator\nfrom argparse import")
    )
    for name, pairs in edits.items():
        text = (folder / name).read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new, 1)
        (folder / name).write_text(text)
    with open(folder / "models/networks/negative_generator.py", "a") as file:
        file.write('\nSOURCES["neg_noise"] = NoiseNegatives\n')


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The folder of a copy of the program, in which the files were added and have run."""
    folder = tmp_path_factory.mktemp("dropin")
    copy_program(folder)
    (folder / "models" / "old_style_model.py").write_text(MODEL)
    (folder / "data" / "two_folders_dataset.py").write_text(DATASET)
    draw_images(folder / "data_here", train=5, test=4)
    for i in range(3):
        for side in "AB":
            (folder / "arrays_here" / f"train{side}").mkdir(parents=True, exist_ok=True)
            array = np.random.default_rng(i).random((40, 36, 4))
            np.save(folder / "arrays_here" / f"train{side}" / f"{i}.npy", array)
    add_examples(folder)
    printed = run_in(folder, RUN)
    (folder / "printed.txt").write_text(printed)
    return folder


@pytest.mark.slow
def test_in_bf16_it_is_told_that_its_losses_are_fp32(ran):
    assert "bf16 inside the networks, fp32 for outputs and losses" in (ran / "printed.txt").read_text()


@pytest.mark.slow
def test_it_trains_and_resumes(ran):
    rows = [json.loads(line) for line in (ran / "checkpoints/old/losses.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == sorted(row["epoch"] for row in rows)
    assert {row["epoch"] for row in rows} == {1, 2}
    assert {"G_GAN", "D_real", "D_fake", "G", "NCE"} <= rows[-1]["losses"].keys()


@pytest.mark.slow
def test_it_saves_every_network(ran):
    for epoch in ("latest", "1", "2"):
        for name in ("G", "E", "F", "D"):
            assert (ran / f"checkpoints/old/{epoch}_net_{name}.pth").exists()
    state = torch.load(ran / "checkpoints/old/latest_state.pt", weights_only=True)
    assert len(state["model"]["optimizers"]) == 3
    assert len(state["ranks"][0]["pools"]["fake_pool"]) == 3
    first, last = (torch.load(ran / f"checkpoints/old/{e}_net_E.pth", weights_only=True) for e in (1, 2))
    assert not torch.equal(first["conv.weight"], last["conv.weight"])


@pytest.mark.slow
def test_it_translates_with_the_network_that_is_born_in_its_first_forward_pass(ran):
    folder = ran / "results/old/test_latest"
    assert (folder / "index.html").exists()
    assert {p.name for p in (folder / "images/fake_B").iterdir()} == {"0.png", "1.png", "2.png"}
    assert {p.name for p in (folder / "images").iterdir()} == {"real_A", "fake_B", "real_B"}


@pytest.mark.slow
def test_its_generator_can_be_used_alone(ran):
    assert Image.open(ran / "one.png").size == (40, 40)


@pytest.mark.slow
def test_the_examples_of_the_documentation(ran):
    rows = [json.loads(line) for line in (ran / "checkpoints/arrays/losses.jsonl").read_text().splitlines()]
    assert rows[-1]["losses"]["tone"] > 0 and "NCE" in rows[-1]["losses"]
    G = torch.load(ran / "checkpoints/arrays/latest_net_G.pth", weights_only=True)
    assert G["model.1.weight"].shape == (2, 4, 3, 3)
    N = torch.load(ran / "checkpoints/noise/latest_net_N.pth", weights_only=True)
    assert N["mlp_0.0.weight"].shape == (8, 64)
