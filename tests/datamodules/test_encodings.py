"""Training batches with what encoders made ahead of training, in place of the video."""

import pytest
import torch

from datamodules.settings import TrainingSettings
from movideo.clips.augment import Augmentation, HorizontalFlip, RandomZoom, TemporalReversal
from movideo.clips.clip import read_clip
from movideo.errors import UserError
from movideo.shards.encodings import Encoders
from movideo.shards.shard import find_shards, read_header, write_shard
from tests.stages.parts import autoencoder, image_encoder

LABELS = {"depth", "depth_alignment", "flow_i2v", "flow_v2i"}
OTHERS = {"fps", "key_index", "name"}


@pytest.fixture(scope="module")
def parts():
    """What stage 2 sees its clips through."""
    return {"image_encoder": image_encoder(), "autoencoder": autoencoder()}


def unreadable(clip, exact_colours):
    raise AssertionError(f"{clip.video} is opened")


def keys_in(folder):
    return [row["key"] for path in find_shards(folder) for row in read_header(path)["rows"]]


@torch.no_grad()
def test_no_video_is_opened_in_training(make, parts, monkeypatch):
    data = make(encoders=Encoders(**parts))
    clips = data._datasets["train"].clips
    data.serve_encodings(parts)
    monkeypatch.setattr("datamodules.clip_dataset.read_clip_pixels", unreadable)
    batches = list(data.train_dataloader())
    assert len(batches) == 3
    for batch in batches:
        assert set(batch) == LABELS | OTHERS | {"latents", "tokens"}
        given = data.on_after_batch_transfer(batch, 0)
        assert given["latents"].dtype == given["tokens"].dtype == torch.float32
        for index, name in enumerate(batch["name"]):
            (clip,) = (clip for clip in clips if clip.key.startswith(name[-6:]))
            video = read_clip(clip)[None]
            expected = {
                "latents": parts["autoencoder"].encode(video)[0],
                "tokens": parts["image_encoder"](video[:, clip.key_index])[0],
            }
            # Float16 has 11 significant bits: it errs by at most half of 2^-10 of the value.
            for kind, truth in expected.items():
                torch.testing.assert_close(given[kind][index], truth, rtol=2**-11, atol=1e-6)
    with pytest.raises(AssertionError, match="is opened"):
        list(data.val_dataloader())


def test_only_training_clips_are_encoded_once(make, parts):
    data = make(encoders=Encoders(**parts))
    data.serve_encodings(parts)
    train = [clip.key for clip in data._datasets["train"].clips]
    for folder in data.encodings.values():
        assert sorted(keys_in(folder.directory)) == sorted(train)
    assert set(next(iter(data.val_dataloader()))) == LABELS | OTHERS | {"video"}


def test_a_stage_is_given_what_it_sees_its_clips_through(make, parts):
    data = make(encoders=Encoders(**parts))
    data.serve_encodings({"image_encoder": parts["image_encoder"]})  # stage 1
    assert set(next(iter(data.train_dataloader()))) == LABELS | OTHERS | {"tokens"}


@pytest.mark.parametrize(
    ("given", "field", "other"),
    [("image_encoder", "tokens", "autoencoder"), ("autoencoder", "latents", "image_encoder")],
)
def test_videos_are_read_for_what_is_not_kept(make, parts, caplog, given, field, other):
    data = make(encoders=Encoders(**{given: parts[given]}))
    data.serve_encodings(parts)
    assert set(next(iter(data.train_dataloader()))) == LABELS | OTHERS | {"video", field}
    told = f"data.encoders: without {other}; videos are read for it"
    assert [record.message for record in caplog.records] == [told]


def test_without_encoders_nothing_changes(make, parts):
    data = make()
    data.serve_encodings(parts)
    assert set(next(iter(data.train_dataloader()))) == LABELS | OTHERS | {"video"}


def test_other_encoders_than_the_stage_s_are_refused(make, parts):
    data = make(encoders=Encoders(**parts))
    other = autoencoder()
    other.scaling_factor *= 1.5
    kept, own = (each.fingerprint()[:8] for each in (parts["autoencoder"], other))
    told = f"data.encoders.autoencoder: weights {kept}, but model.autoencoder has {own}; name the"
    with pytest.raises(UserError, match=told):
        data.serve_encodings({**parts, "autoencoder": other})


def test_a_stage_that_needs_the_video_is_told(make, parts):
    data = make(encoders=Encoders(**parts))
    with pytest.raises(UserError, match=r"data\.encoders: given, but this stage trains on the vid"):
        data.serve_encodings({})


def test_rows_of_another_encoder_among_ours_do_not_count(make, parts):
    """Whoever copies shards from folder to folder is not given them for ours."""
    data = make(encoders=Encoders(**parts))
    data.serve_encodings(parts)
    folder = data.encodings["autoencoder"]
    clips = list(data._datasets["train"].clips)
    rows = [folder.store().get(clip).mapped(torch.zeros_like) for clip in clips]
    intruder = folder.directory / "0.safetensors"  # by its name it comes first
    write_shard(intruder, clips, rows, {"autoencoder": "another"})
    try:
        store = folder.store()
        assert len(store) == len(clips)
        assert all(store.get(clip).latents.abs().max() > 0 for clip in clips)
    finally:
        intruder.unlink()


class Custom(Augmentation):
    """Does not say that it commutes."""

    def apply(self, sample, random):
        return sample


@pytest.mark.parametrize("augmentation", [HorizontalFlip(), RandomZoom(), Custom()])
def test_what_does_not_commute_with_encoders_is_refused(unprepared, parts, augmentation):
    told = rf"^data\.training\.augmentations: {type(augmentation).__name__} changes what the"
    with pytest.raises(UserError, match=told):
        unprepared(
            encoders=Encoders(**parts),
            training=TrainingSettings(augmentations=[TemporalReversal(), augmentation]),
        )
    unprepared(training=TrainingSettings(augmentations=[augmentation]))


def test_reversal_goes_with_them(make, parts):
    plain = make(encoders=Encoders(**parts))
    reversing = make(
        encoders=Encoders(**parts), training=TrainingSettings(augmentations=[TemporalReversal(1)])
    )
    for data in (plain, reversing):
        data.serve_encodings(parts)
    pairs = zip(plain.train_dataloader(), reversing.train_dataloader(), strict=True)
    for one, other in pairs:
        assert one["name"] == other["name"]
        assert torch.equal(one["latents"].flip(1), other["latents"])
        assert torch.equal(one["tokens"], other["tokens"])
        assert torch.equal(2 - one["key_index"], other["key_index"])


def test_several_processes_end_with_the_command_to_run(unprepared, monkeypatch):
    own = {"autoencoder": autoencoder()}
    own["autoencoder"].scaling_factor = 3.0  # of its latents there are none yet
    data = unprepared(encoders=Encoders(**own))
    data.prepare_data()
    monkeypatch.setattr("datamodules.video_clips.world_size", lambda: 2)
    told = r"7 of 7 clips have no latents .*; make them first with: movideo precompute --config"
    for _ in range(2):  # every rank by itself
        rank = unprepared(encoders=Encoders(**own))
        rank.prepare_data()
        rank.setup("fit")
        with pytest.raises(UserError, match=told):
            rank.serve_encodings(own)
    for share in range(2):
        assert data.precompute_all(share, 2) == {}
    rank.serve_encodings(own)
    assert set(next(iter(rank.train_dataloader()))) == LABELS | OTHERS | {"latents"}
