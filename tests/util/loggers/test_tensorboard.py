"""TensorBoard files: names, steps, and no repeats after a resume."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from util.errors import UserError
from util.loggers import create_loggers
from util.run.progress import Position, Progress


def options(folder):
    return SimpleNamespace(
        **{"checkpoints_dir": str(folder), "name": "run", "display_freq": 200},
        **{"tensorboard": True, "display_id": 0, "no_html": True, "quiet": True, "rank": 0},
    )


def train(folder, first, last, resume=None):
    from util.loggers.tensorboard import TensorboardLogger

    logger = TensorboardLogger(options(folder), resume)
    for i in range(first, last + 1):
        progress = Progress(1, 100 * i, 100 * i, 100, learning_rates={"G": 2e-4}, seconds_per_image=0.5)
        image = np.full((8, 8, 3), i, np.uint8)
        logger.log_losses(progress, {"NCE": 1 / i, "N": -1.0})
        logger.log_images(progress, {"real_A": image})
    logger.log_samples(progress, {"horse": {"fake_B": image}})
    logger.log_scores(progress, {"FID": 40.0, "images": 120})
    logger.close()


def test_names_and_steps_without_repeats(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(tmp_path, 1, 5)
    train(tmp_path, 4, 6, resume=Position(2, 0, 300))
    events = EventAccumulator(str(tmp_path / "run/tensorboard"), {"images": 0, "scalars": 0})
    events.Reload()
    assert set(events.Tags()["scalars"]) == {
        *("contrastive/NCE", "negatives/N", "learning_rate/G", "speed/images_per_second", "scores/FID")
    }
    points = [(event.step, round(event.value, 5)) for event in events.Scalars("contrastive/NCE")]
    assert points == [(100 * i, round(1 / i, 5)) for i in range(1, 7)]
    assert [event.step for event in events.Images("images/real_A")] == [100, 200, 400, 600]
    assert [event.step for event in events.Images("samples horse/fake_B")] == [600]


def test_without_the_package_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.delitem(sys.modules, "util.loggers.tensorboard", raising=False)
    with pytest.raises(UserError, match="pip install tensorboard"):
        create_loggers(options(tmp_path))
    assert not list(tmp_path.iterdir())
