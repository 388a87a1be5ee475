"""What a score's name tells."""

HIGHER = ("ssim", "psnr", "acc", "iou", "map", "precision", "recall", "density", "coverage", "inception score")
HIGHER += ("class_", "self_similarity", "edge_similarity", "stripes")


def higher_is_better(score: str) -> bool:
    """Whether larger is better (accuracies, IoU, SSIM, ...); FID, KID, errors and distances are better when small."""
    return any(word in score.lower() for word in HIGHER)
