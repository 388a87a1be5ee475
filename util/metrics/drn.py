"""DRN-D-22 for segmentation (Yu, Koltun, Funkhouser 2017, "Dilated Residual Networks"), with the public
weights' names."""

import torch
from torch import nn


class Block(nn.Module):
    """Two 3x3 convolutions around a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int = 1, dilation: int = 1):
        super().__init__()
        self.conv1 = _conv3x3(in_channels, channels, stride, dilation)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, 1, dilation)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None
        if stride != 1 or in_channels != channels:
            shortcut = nn.Conv2d(in_channels, channels, kernel_size=1, stride=stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class DRNSegmentation(nn.Module):
    """(B, 3, H, W) normalised -> scores (B, classes, H, W); H and W multiples of 8.

    The trunk ends at an 8th of the input: strides stop there and dilations 2 and 4 take over, then 2 and 1
    without shortcuts remove the gridding. ``up`` is a fixed bilinear upsampling by 8, stored as a transposed
    convolution.
    """

    def __init__(self, classes: int = 19):
        super().__init__()
        self.base = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 16, kernel_size=7, padding=3, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
            _plain(16, 16),
            _plain(16, 32, stride=2),
            nn.Sequential(Block(32, 64, stride=2), Block(64, 64)),
            nn.Sequential(Block(64, 128, stride=2), Block(128, 128)),
            nn.Sequential(Block(128, 256, dilation=2), Block(256, 256, dilation=2)),
            nn.Sequential(Block(256, 512, dilation=4), Block(512, 512, dilation=4)),
            _plain(512, 512, dilation=2),
            _plain(512, 512),
        )
        self.seg = nn.Conv2d(512, classes, kernel_size=1)
        self.up = nn.ConvTranspose2d(classes, classes, 16, stride=8, padding=4, groups=classes, bias=False)
        ramp = 1 - (torch.arange(16) - 7.5).abs() / 8
        self.up.weight.data.copy_(torch.outer(ramp, ramp).expand_as(self.up.weight))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.up(self.seg(self.base(x)))


def _conv3x3(in_channels: int, channels: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, 3, stride, padding=dilation, dilation=dilation, bias=False)


def _plain(in_channels: int, channels: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(_conv3x3(in_channels, channels, stride, dilation), nn.BatchNorm2d(channels), nn.ReLU())
