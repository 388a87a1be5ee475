import pickle
import random

import numpy as np
import pytest
import torch
from drawn import draw_folder, draw_unpaired, make_opt
from hypothesis import given, settings
from hypothesis import strategies as st

import data
from data.base_dataset import BaseDataset
from data.loader import EpochSampler, Loader, seeded
from util.errors import UserError


class OfficialStyleDataset(BaseDataset):
    """Draws from every global generator, as files written for the official code do."""

    def __init__(self, opt, length=5):
        super().__init__(opt)
        self.length = length

    def __getitem__(self, index):
        draws = [random.random(), np.random.rand(), np.random.randn(), torch.rand(()).item()]
        return {"A": torch.tensor([index, self.current_epoch, *draws], dtype=torch.float64), "A_paths": str(index)}

    def __len__(self):
        return self.length


def epoch_of(loader, epoch, skip_images=0):
    """All items of an epoch, one after the other, as (numbers, path)."""
    loader.set_epoch(epoch, skip_images)
    return [(item.tolist(), path) for batch in loader for item, path in zip(batch["A"], batch["A_paths"], strict=True)]


def official(**changes):
    opt = make_opt("", **changes)
    return Loader(OfficialStyleDataset(opt), opt)


def test_every_image_once_nothing_dropped():
    loader = official(batch_size=2)
    assert len(loader) == 5
    loader.set_epoch(1)
    batches = list(loader)
    assert [len(batch["A"]) for batch in batches] == [2, 2, 1]
    assert sorted(path for batch in batches for path in batch["A_paths"]) == list("01234")


def test_items_are_a_function_of_seed_epoch_and_index():
    first = epoch_of(official(), 1)
    assert epoch_of(official(), 1) == first
    assert epoch_of(official(batch_size=3), 1) == first
    by_index = {path: numbers[2:] for numbers, path in first}
    serial = epoch_of(official(serial_batches=True), 1)
    assert [path for _, path in serial] == list("01234")
    assert {path: numbers[2:] for numbers, path in serial} == by_index
    for other in (epoch_of(official(), 2), epoch_of(official(seed=8), 1)):
        assert all(numbers[2:] != by_index[path] for numbers, path in other)
    values = [value for numbers, _ in first for value in numbers[2:]]
    assert len(set(values)) == len(values)


def test_orders_differ_between_epochs():
    loader = official()
    orders = {tuple(path for _, path in epoch_of(loader, epoch)) for epoch in range(6)}
    assert len(orders) > 3


def test_workers_change_nothing_and_learn_the_epoch():
    alone, workers = official(batch_size=2), official(batch_size=2, num_threads=2)
    for epoch in (1, 2, 7):
        items = epoch_of(workers, epoch)
        assert items == epoch_of(alone, epoch)
        assert all(numbers[1] == epoch for numbers, _ in items)
    assert epoch_of(workers, 7, 3) == epoch_of(alone, 7)[3:]


def test_stopping_within_an_epoch_leaves_no_trace():
    loader = official(num_threads=1)
    loader.set_epoch(1)
    next(iter(loader))
    assert epoch_of(loader, 2) == epoch_of(official(), 2)


@pytest.mark.slow
def test_spawned_workers(tmp_path):
    """As on macOS and Windows: the dataset, its cache included, travels to the worker as a pickle."""
    opt = make_opt(draw_unpaired(tmp_path), num_threads=1, cache="ram", n_epochs=1)
    loader, alone = data.create_dataset(opt), data.create_dataset(make_opt(tmp_path, n_epochs=1))
    loader.batches.multiprocessing_context = "spawn"
    for epoch in (1, 2):
        loader.set_epoch(epoch)
        alone.set_epoch(epoch)
        for ours, theirs in zip(loader, alone, strict=True):
            assert torch.equal(ours["A"], theirs["A"]) and torch.equal(ours["B"], theirs["B"])
    domain = loader.dataset.domains["A"]
    assert domain.cache.held.tolist() == [16] * 5  # filled by the worker, seen here


def test_everything_can_be_pickled(tmp_path):
    loader = data.create_dataset(make_opt(draw_unpaired(tmp_path)))
    dataset = pickle.loads(pickle.dumps(loader.batches.dataset))
    assert torch.equal(dataset[1, 2]["A"], loader.batches.dataset[1, 2]["A"])


def test_skipping_continues_the_same_order():
    whole = epoch_of(official(), 3)
    for skip in range(6):
        assert epoch_of(official(), 3, skip) == whole[skip:]
    loader = official()
    epoch_of(loader, 3, 2)
    assert epoch_of(loader, 3) == whole  # the next epoch starts from its beginning


def test_skipped_images_are_not_read():
    class Counting(OfficialStyleDataset):
        read = []

        def __getitem__(self, index):
            self.read.append(index)
            return super().__getitem__(index)

    opt = make_opt("")
    loader = Loader(Counting(opt), opt)
    epoch_of(loader, 1, 3)
    assert len(Counting.read) == 2


@given(
    total=st.integers(1, 40),
    limit=st.integers(1, 50),
    world_size=st.integers(1, 5),
    batch_size=st.integers(1, 4),
    steps=st.integers(0, 40),
    shuffle=st.booleans(),
)
@settings(max_examples=200)
def test_ranks_share_one_order(total, limit, world_size, batch_size, steps, shuffle):
    images = min(total, limit)

    def read_by(rank, ranks, skip=0):
        sampler = EpochSampler(total, images, shuffle, seed=3, rank=rank, world_size=ranks)
        sampler.epoch, sampler.skip_images = 2, skip
        return [index for _, index in sampler]

    alone = read_by(0, 1)
    assert len(alone) == images == len(set(alone)) and (shuffle or alone == list(range(images)))
    ranks = [read_by(rank, world_size) for rank in range(world_size)]
    assert len({len(order) for order in ranks}) == 1  # the same number of batches everywhere
    interleaved = [index for step in zip(*ranks, strict=True) for index in step]
    assert interleaved[:images] == alone
    assert interleaved[images:] == [alone[i % images] for i in range(len(interleaved) - images)]
    # On after some steps: with as many ranks exactly, with one rank too.
    done = steps * batch_size * world_size
    if done < images:
        for rank in range(world_size):
            assert read_by(rank, world_size, done) == ranks[rank][steps * batch_size :]
        assert read_by(0, 1, done) == alone[done:]
    else:
        assert read_by(0, world_size, done) == []


def test_ranks_and_one_process_load_the_same_items():
    alone = {path: numbers for numbers, path in epoch_of(official(), 1)}
    for rank in range(2):
        items = epoch_of(official(rank=rank, world_size=2), 1)
        assert len(items) == 3
        assert all(alone[path] == numbers for numbers, path in items)


def test_max_dataset_size_holds_for_datasets_that_ignore_it():
    loader = official(max_dataset_size=3)
    assert len(loader) == 3 and len(epoch_of(loader, 1)) == 3


def test_global_generators_are_left_alone():
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(5)
    np.random.randn()  # leaves a second value behind, which belongs to the state
    loader = official()
    states = random.getstate(), str(np.random.get_state(legacy=False)), torch.get_rng_state()
    epoch_of(loader, 1)
    assert random.getstate() == states[0]
    assert str(np.random.get_state(legacy=False)) == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_generators_are_put_back_after_an_error():
    state = random.getstate()
    with pytest.raises(ValueError), seeded(1, 2, 3):
        random.random()
        raise ValueError
    assert random.getstate() == state


@pytest.mark.parametrize("num_threads", [0, 1])
def test_user_error_arrives_in_one_sentence(tmp_path, num_threads):
    loader = data.create_dataset(make_opt(draw_unpaired(tmp_path), num_threads=num_threads))
    for path in (tmp_path / "trainA").iterdir():
        path.write_bytes(b"")  # after the check at the start
    with pytest.raises(UserError) as error:
        list(loader)
    assert "0 bytes" in str(error.value) and "Traceback" not in str(error.value)


def test_images_of_different_sizes_in_a_batch_are_refused(tmp_path):
    class Ragged(OfficialStyleDataset):
        def __getitem__(self, index):
            return {"A": torch.zeros(3, 4 + index, 4)}

    opt = make_opt(tmp_path, batch_size=2)
    with pytest.raises(UserError, match="--batch_size 2 needs images of one size.*--batch_size 1"):
        list(Loader(Ragged(opt), opt))


def test_no_more_workers_than_batches():
    assert official(batch_size=5, num_threads=4).batches.num_workers == 1
    assert official(num_threads=0).batches.num_workers == 0


def test_empty_dataset_is_refused():
    opt = make_opt("", dataset_mode="mine")
    with pytest.raises(UserError, match="mine finds no images"):
        Loader(OfficialStyleDataset(opt, length=0), opt)


def test_names():
    assert data.find_dataset_using_name("unaligned").__name__ == "UnalignedDataset"
    assert data.get_option_setter("colorization")
    for name in ("nonsense", "base", "../unaligned", "a.b", ""):
        with pytest.raises(UserError, match="--dataset_mode .*aligned, .*unaligned"):
            data.find_dataset_using_name(name)


def test_single_items_have_a_batch_dimension(tmp_path):
    draw_folder(tmp_path, 1)
    for batch_size in (1, 2):
        batch = next(iter(data.create_dataset(make_opt(tmp_path, dataset_mode="single", batch_size=batch_size))))
        assert batch["A"].shape == (1, 3, 16, 16)
        assert batch["A_paths"] == [str(tmp_path / "000.png")]
