"""Model files in the style of CycleGAN's code, of 2021 (gpu_ids) and of 2025 (opt.device), and one with a generator of
its own, run as they are."""

import json

import numpy as np
import pytest
import torch
from drawn_family import options_of, pair_batch
from program_copy import copy_program, draw_images, run_in

import models
from models.base_model import BaseModel
from util.errors import UserError
from util.images import tensor2im

PAIRED_2025 = '''
import torch
from .base_model import BaseModel
from . import networks


class PairedModel(BaseModel):
    """D sees input and output; no GPU numbers anywhere, networks are moved by setup."""

    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(norm="batch", dataset_mode="aligned")
        if is_train:
            parser.set_defaults(pool_size=0, gan_mode="vanilla")
            parser.add_argument("--lambda_paired", type=float, default=10.0, help="weight")
        return parser

    def __init__(self, opt):
        BaseModel.__init__(self, opt)
        self.loss_names = ["G", "D"]
        self.visual_names = ["real_A", "fake_B", "real_B"]
        self.model_names = ["G", "D"] if self.isTrain else ["G"]
        self.device = opt.device
        self.netG = networks.define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.norm, not opt.no_dropout,
                                      opt.init_type, opt.init_gain)
        if self.isTrain:
            self.netD = networks.define_D(opt.input_nc + opt.output_nc, opt.ndf, opt.netD, opt.n_layers_D, opt.norm,
                                          opt.init_type, opt.init_gain)
            self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
            self.optimizer_G = torch.optim.Adam(self.netG.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))
            self.optimizer_D = torch.optim.Adam(self.netD.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))
            self.optimizers.append(self.optimizer_G)
            self.optimizers.append(self.optimizer_D)

    def set_input(self, input):
        self.real_A = input["A"].to(self.device)
        self.real_B = input["B"].to(self.device)
        self.image_paths = input["A_paths"]

    def forward(self):
        self.fake_B = self.netG(self.real_A)

    def optimize_parameters(self):
        self.forward()
        self.set_requires_grad(self.netD, True)
        self.optimizer_D.zero_grad()
        real = self.netD(torch.cat((self.real_A, self.real_B), 1))
        fake = self.netD(torch.cat((self.real_A, self.fake_B), 1).detach())
        self.loss_D = (self.criterionGAN(real, True) + self.criterionGAN(fake, False)) * 0.5
        self.loss_D.backward()
        self.optimizer_D.step()
        self.set_requires_grad(self.netD, False)
        self.optimizer_G.zero_grad()
        self.loss_G = (self.fake_B - self.real_B).abs().mean() * self.opt.lambda_paired
        self.loss_G.backward()
        self.optimizer_G.step()
'''

CYCLE_2021 = """
import itertools
import torch
from util.image_pool import ImagePool
from .base_model import BaseModel
from . import networks


class RoundModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(no_dropout=True)
        return parser

    def __init__(self, opt):
        BaseModel.__init__(self, opt)
        self.loss_names = ['G', 'D_A']
        self.visual_names = ['real_A', 'fake_B', 'rec_A']
        self.model_names = ['G_A', 'G_B', 'D_A'] if self.isTrain else ['G_A', 'G_B']
        shape = (opt.ngf, opt.netG, opt.norm, not opt.no_dropout, opt.init_type, opt.init_gain, self.gpu_ids)
        self.netG_A = networks.define_G(opt.input_nc, opt.output_nc, *shape)
        self.netG_B = networks.define_G(opt.output_nc, opt.input_nc, *shape)
        if self.isTrain:
            self.netD_A = networks.define_D(opt.output_nc, opt.ndf, opt.netD, opt.n_layers_D, opt.norm, opt.init_type,
                                            opt.init_gain, self.gpu_ids)
            self.fake_B_pool = ImagePool(opt.pool_size)
            self.criterionGAN = networks.GANLoss(opt.gan_mode).to(self.device)
            self.optimizer_G = torch.optim.Adam(itertools.chain(self.netG_A.parameters(), self.netG_B.parameters()))
            self.optimizer_D = torch.optim.Adam(self.netD_A.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))
            self.optimizers += [self.optimizer_G, self.optimizer_D]

    def data_dependent_initialize(self):
        self.first_images = self.real_A.shape[0]

    def set_input(self, input):
        AtoB = self.opt.direction == 'AtoB'
        self.real_A = input['A' if AtoB else 'B'].to(self.device)
        self.real_B = input['B' if AtoB else 'A'].to(self.device)
        self.image_paths = input['A_paths' if AtoB else 'B_paths']

    def forward(self):
        self.fake_B = self.netG_A(self.real_A)
        self.rec_A = self.netG_B(self.fake_B)

    def optimize_parameters(self):
        assert self.first_images and not self.opt.amp
        self.forward()
        self.set_requires_grad(self.netD_A, False)
        self.optimizer_G.zero_grad()
        self.loss_G = self.criterionGAN(self.netD_A(self.fake_B), True) + (self.rec_A - self.real_A).abs().mean()
        self.loss_G.backward()
        self.optimizer_G.step()
        self.set_requires_grad(self.netD_A, True)
        self.optimizer_D.zero_grad()
        fake = self.fake_B_pool.query(self.fake_B)
        self.loss_D_A = self.criterionGAN(self.netD_A(self.real_B), True) + self.criterionGAN(
            self.netD_A(fake.detach()), False)
        self.loss_D_A.backward()
        self.optimizer_D.step()
"""

OWN_NET = """
import torch
from .base_model import BaseModel


class TwoLayers(torch.nn.Sequential):
    def __init__(self, ngf):
        super().__init__(torch.nn.Conv2d(3, ngf, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(ngf, 3, 3, padding=1))


class OwnNetModel(BaseModel):
    @staticmethod
    def modify_commandline_options(parser, is_train=True):
        parser.set_defaults(netG='two_layers')
        return parser

    def __init__(self, opt):
        BaseModel.__init__(self, opt)
        assert opt.netG == 'two_layers'
        self.loss_names, self.visual_names, self.model_names = ['G'], ['real_A', 'fake_B'], ['G']
        self.netG = TwoLayers(opt.ngf)
        if self.isTrain:
            self.optimizer_G = torch.optim.Adam(self.netG.parameters(), lr=opt.lr)
            self.optimizers.append(self.optimizer_G)

    def set_input(self, input):
        self.real_A = input['A'].to(self.device)
        self.image_paths = input['A_paths']

    def forward(self):
        self.fake_B = self.netG(self.real_A)

    def optimize_parameters(self):
        self.forward()
        self.optimizer_G.zero_grad()
        self.loss_G = (self.fake_B - self.real_A).abs().mean()
        self.loss_G.backward()
        self.optimizer_G.step()
"""

RUN = """
import sys
sys.path.insert(0, "")
import torch
torch.set_num_threads(1)

def run(script, *flags):
    sys.argv = [script + ".py", "--gpu_ids", "-1", *flags]
    try:
        __import__(script).main()
    except SystemExit as end:
        assert end.code == 0, end.code

tiny = "--dataroot data_here --ngf 2 --ndf 2 --load_size 36 --crop_size 32 --num_threads 0"
tiny += " --n_epochs_decay 0 --print_freq 2 --display_id -1 --eval_freq 0 --save_epoch_freq 1 --no_html"
resnet = ["--netG", "resnet_4blocks"]
for name, netG in (("paired", resnet), ("round", resnet), ("own_net", [])):
    run("train", "--name", name, "--model", name, *tiny.split(), *netG, "--n_epochs", "1")
    run("train", "--name", name, "--continue_train", "--n_epochs", "2")
    run("test", "--name", name, "--num_test", "1")
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = copy_program(tmp_path_factory.mktemp("cyclegan_files"))
    (folder / "models" / "paired_model.py").write_text(PAIRED_2025)
    (folder / "models" / "round_model.py").write_text(CYCLE_2021)
    (folder / "models" / "own_net_model.py").write_text(OWN_NET)
    draw_images(folder / "data_here")
    run_in(folder, RUN)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name, nets", [("paired", ["G", "D"]), ("round", ["G_A", "G_B", "D_A"]), ("own_net", ["G"])])
def test_they_train_resume_and_translate(name, nets, ran):
    rows = [json.loads(line) for line in (ran / f"checkpoints/{name}/losses.jsonl").read_text().splitlines()]
    assert {row["epoch"] for row in rows} == {1, 2}
    for net in nets:
        state = torch.load(ran / f"checkpoints/{name}/latest_net_{net}.pth", weights_only=True)
        assert not any(key.endswith(".filt") for key in state), "CycleGAN's own code could not load it"
    assert (ran / f"results/{name}/test_latest/index.html").exists()


@pytest.mark.slow
def test_norm_as_cyclegans_files_set_it_is_that_of_both_networks(ran):
    opt = json.loads((ran / "checkpoints/paired/train_opt.json").read_text())
    assert (opt["normG"], opt["normD"], opt["norm"]) == ("batch", "batch", "batch")
    state = torch.load(ran / "checkpoints/paired/latest_net_D.pth", weights_only=True)
    assert any(key.endswith("running_mean") for key in state)


class Lazy(BaseModel):
    """Networks where their file left them, as CycleGAN's of 2025."""

    def __init__(self, opt):
        super().__init__(opt)
        self.netG, self.model_names = torch.nn.Linear(2, 2), ["G"]

    def forward(self):
        pass

    def optimize_parameters(self):
        pass


def test_setup_moves_the_networks_to_the_device(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "find_model_using_name", lambda name: Lazy)
    opt = options_of(tmp_path)
    model = models.create_model(opt)
    model.device = torch.device("meta")
    model.setup(opt)
    assert model.netG.weight.is_meta


def test_a_hook_that_wants_two_batches_is_refused(tmp_path, monkeypatch):
    class TwoBatches(Lazy):
        def data_dependent_initialize(self, data, data2):
            pass

    monkeypatch.setattr(models, "find_model_using_name", lambda name: TwoBatches)
    model = models.create_model(options_of(tmp_path))
    with pytest.raises(UserError, match="wants 2 batches"):
        model.see_first_batch([pair_batch([1], 32)])


def test_the_first_batch_knows_its_epoch(tmp_path, monkeypatch):
    class Curriculum(Lazy):
        def set_epoch(self, epoch):
            self.share = epoch / 10

        def data_dependent_initialize(self, data):
            self.seen = self.share

    monkeypatch.setattr(models, "find_model_using_name", lambda name: Curriculum)
    model = models.create_model(options_of(tmp_path, "--epoch_count", "3"))
    model.see_first_batch([pair_batch([1], 32)])
    assert model.seen == 0.3


def test_norm_is_there_for_cyclegans_files(tmp_path):
    assert options_of(tmp_path).norm == "instance"
    assert options_of(tmp_path, "--model", "pix2pix").norm == "batch"


def test_a_norm_flag_of_a_files_own_keeps_its_value(tmp_path, monkeypatch):
    class OwnNorm(Lazy):
        @staticmethod
        def modify_commandline_options(parser, is_train):
            parser.add_argument("--norm", default="group")
            return parser

    monkeypatch.setattr(models, "find_model_using_name", lambda name: OwnNorm)
    opt = options_of(tmp_path, "--norm", "batch")
    assert (options_of(tmp_path).norm, opt.norm, opt.normG) == ("group", "batch", "instance")


def test_loops_of_others_may_call_every_method_of_theirs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "find_model_using_name", lambda name: Lazy)
    model = models.create_model(options_of(tmp_path))
    model.data_dependent_initialize()  # QS-Attn's
    model.print_networks(False)  # F-LSeSim's
    model.print_networks(True)
    printed = capsys.readouterr().out
    assert "network G: 0.00 M" in printed and "network G: Linear(in_features=2" in printed


def test_arrays_are_shown_as_cyclegans_colorization_makes_them(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "find_model_using_name", lambda name: Lazy)
    model = models.create_model(options_of(tmp_path))
    model.visual_names, model.rgb = ["rgb"], np.linspace(0.0, 255.0, 60).reshape(4, 5, 3)
    pictures = model.get_current_visuals()["rgb"]
    assert pictures.shape == (1, 3, 4, 5)
    assert np.array_equal(tensor2im(pictures), model.rgb.astype(np.uint8))


def test_a_step_that_takes_the_epoch_is_given_it(tmp_path, monkeypatch):
    class OfEpoch(Lazy):
        def optimize_parameters(self, epoch):
            self.told = epoch, self.current_epoch

    monkeypatch.setattr(models, "find_model_using_name", lambda name: OfEpoch)
    model = models.create_model(options_of(tmp_path, "--epoch_count", "3"))
    assert model.current_epoch == 3
    model.set_epoch(5)
    model.step(pair_batch([1], 32))
    assert model.told == (5, 5)
