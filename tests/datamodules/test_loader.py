"""A run that is stopped in mid-epoch and resumed trains on the batches that were left."""

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from datamodules.epoch_order import EpochOrder
from datamodules.loader import ResumableLoader, worker_options
from datamodules.sampler import PlaceSampler
from datamodules.settings import TrainingSettings
from movideo.clips.augment import HorizontalFlip, RandomZoom, TemporalReversal

STEPS = 9  # three epochs of three batches


class Journal(L.LightningModule):
    """Learns a weight a channel and writes down what it is given."""

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Linear(3, 1)
        self.batches = []

    def training_step(self, batch, batch_idx):
        error = self.weights(batch["video"].mean(dim=(1, 3, 4))) - batch["flow_i2v"].abs().mean()
        loss = error.square().mean()
        self.batches.append((self.current_epoch, batch_idx, tuple(batch["name"]), loss.item()))
        return loss

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)


@pytest.fixture
def train(unprepared, tmp_path):
    """Trains on clips with every augmentation and gives back what was seen."""

    def train(num_workers, resume_from=None, save_every=None, **options):
        data = unprepared(
            num_workers=num_workers,
            training=TrainingSettings(
                augmentations=[HorizontalFlip(), TemporalReversal(), RandomZoom()]
            ),
        )
        save = ModelCheckpoint(
            tmp_path, "{step}", every_n_train_steps=save_every, save_top_k=-1, save_last=False
        )
        trainer = L.Trainer(
            accelerator="cpu",
            max_steps=STEPS,
            logger=False,
            callbacks=[save] if save_every else [],
            enable_checkpointing=bool(save_every),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **options,
        )
        torch.manual_seed(0)
        journal = Journal()
        trainer.fit(journal, data, ckpt_path=resume_from)
        return journal.batches

    return train


def test_a_resumed_run_is_the_uninterrupted_one(train, tmp_path):
    whole = train(num_workers=1, save_every=1)
    assert [batch[:2] for batch in whole] == [(e, b) for e in range(3) for b in range(3)]
    assert len({batch[3] for batch in whole}) == STEPS
    # In the middle of the first epoch, at the end of one, in the middle of a later one.
    for step in (1, 3, 5):
        for num_workers in (0, 1, 2):
            rest = train(num_workers, tmp_path / f"step={step}.ckpt")
            assert rest == whole[step:], (step, num_workers)


def test_validation_between_batches_changes_nothing(train, tmp_path):
    whole = train(num_workers=0, save_every=2)
    assert train(num_workers=2, save_every=2, val_check_interval=2) == whole
    assert train(0, tmp_path / "step=4.ckpt", val_check_interval=1) == whole[4:]


def test_a_pass_over_part_of_the_data_is_resumed_too(train, tmp_path):
    whole = train(num_workers=1, save_every=1, limit_train_batches=2)
    assert [batch[1] for batch in whole] == [0, 1] * 4 + [0]
    for step in (3, 4):
        assert train(0, tmp_path / f"step={step}.ckpt", limit_train_batches=2) == whole[step:]


class Echo(torch.utils.data.Dataset):
    """Gives places back."""

    def __len__(self):
        return 40

    def __getitem__(self, place):
        return torch.tensor(place)


@pytest.fixture
def loader():
    def make(batch_size=4, world_size=1, rank=0, num_workers=0, **options):
        zeros = torch.zeros(40, dtype=torch.int64).numpy()
        order = EpochOrder(zeros, zeros, None, batch_size * world_size, seed=3)
        sampler = PlaceSampler(Echo(), order, rank, world_size)
        return ResumableLoader(Echo(), sampler, num_workers=num_workers, **options)

    return make


def epoch_of(loader, epoch):
    loader.sampler.set_epoch(epoch)
    return [batch.tolist() for batch in loader]


def test_what_workers_read_ahead_does_not_count(loader):
    ahead = loader(num_workers=2, prefetch_factor=4)
    batches = iter(ahead)
    first = [next(batches).tolist() for _ in range(3)]
    assert ahead.state_dict() == {"epoch": 0, "clips": 12}
    other = loader()
    other.load_state_dict(ahead.state_dict())
    assert first + epoch_of(other, 0) == epoch_of(loader(), 0)


def test_workers_that_stay_follow_the_epochs(loader):
    staying = loader(num_workers=2, persistent_workers=True)
    next(iter(staying))  # a pass that is broken off
    for epoch in (0, 1, 2):
        assert epoch_of(staying, epoch) == epoch_of(loader(), epoch)
    staying.load_state_dict({"epoch": 2, "clips": 32})
    assert epoch_of(staying, 2) == epoch_of(loader(), 2)[8:]


def test_a_state_counts_for_its_epoch_and_once(loader):
    resumed = loader()
    resumed.load_state_dict({"epoch": 1, "clips": 36})
    assert resumed.state_dict() == {"epoch": 1, "clips": 36}
    assert epoch_of(resumed, 2) == epoch_of(loader(), 2)
    resumed.load_state_dict({"epoch": 1, "clips": 36})
    assert epoch_of(resumed, 1) == epoch_of(loader(), 1)[9:]
    assert epoch_of(resumed, 1) == epoch_of(loader(), 1)
    assert len(resumed) == 10


def test_ranks_resume_from_one_state(loader):
    """The state of rank 0 is that of all, and holds for other numbers of ranks."""
    ranks = [loader(batch_size=2, world_size=2, rank=rank) for rank in range(2)]
    for rank in ranks:
        rank.load_state_dict({"epoch": 0, "clips": 28})
    dealt = [place for rank in ranks for batch in epoch_of(rank, 0) for place in batch]
    assert sorted(place[2] for place in dealt) == list(range(28, 40))


def test_workers_are_forked_in_a_process_alone_and_spawned_beside_others():
    """A fork beside the threads of gloo hung once in some fifty runs; a spawned one cannot."""
    assert worker_options(2, 1)["multiprocessing_context"] is None
    assert worker_options(2, 2)["multiprocessing_context"] == "spawn"
    assert worker_options(0, 2)["multiprocessing_context"] is None  # or torch would refuse


def test_spawned_workers_read_what_this_process_reads(make):
    dataset = make()._datasets["train"]
    here = list(DataLoader(dataset, 2, **worker_options(0, 1)))
    there = list(DataLoader(dataset, 2, **worker_options(1, 2)))
    assert len(here) == len(there) > 0
    for one, other in zip(here, there, strict=True):
        assert one["name"] == other["name"]
        assert torch.equal(one["video"], other["video"])
        assert torch.equal(one["flow_i2v"], other["flow_i2v"])
