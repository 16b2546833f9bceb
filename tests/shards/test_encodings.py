"""Latents and tokens ahead of training: what is kept, by which encoders, shared and checked."""

import pytest
import torch

from movideo.clips.augment import HorizontalFlip, TemporalReversal
from movideo.clips.clip import ClipSettings, read_clip, read_clip_pixels
from movideo.clips.index import index_clips
from movideo.errors import UserError
from movideo.models import ImageEncoder, VideoAutoencoder
from movideo.shards import encodings
from movideo.shards import folder as label_folder
from movideo.shards.encodings import Encoders
from movideo.shards.producer import produce_rows
from movideo.shards.shard import find_shards, read_header
from movideo.shards.store import RowStore
from movideo.video.decoding.pixels import to_float
from tests.stages.parts import AUTOENCODER
from tests.video.files import write_numbered

SIZE, FRAMES, KEY = (32, 48), 4, 1
OPTIONS = (f"--data.num_frames={FRAMES}", "--data.size=[32,48]", "--data.split.val=0")
ENCODERS = (
    "--data.encoders=movideo.shards.encodings.Encoders",
    "--data.encoders.autoencoder=movideo.models.VideoAutoencoder",
    "--data.encoders.image_encoder=movideo.models.ImageEncoder",
)


@pytest.fixture(scope="module")
def encoders():
    """The embedded ones."""
    return Encoders(VideoAutoencoder(), ImageEncoder())


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for index in range(6):
        write_numbered(folder / f"{index}.mp4", 30 + index, 25)
    return folder


@pytest.fixture(scope="module")
def clips(videos):
    settings = ClipSettings(num_frames=FRAMES, size=SIZE, key_index=KEY)
    return index_clips(videos, settings).clips


@pytest.fixture
def few(monkeypatch):
    """Shards of two of the six clips."""
    monkeypatch.setattr(label_folder, "SHARDS", 3)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@torch.no_grad()
def test_what_is_kept_is_what_the_encoders_make(tmp_path, encoders, clips):
    producers = encoders.producers("cpu")
    stores = {}
    for name, producer in producers.items():
        assert produce_rows(clips, tmp_path / name, producer) == {}
        stores[name] = RowStore(producer.kind, tmp_path / name)
    video = read_clip(clips[2])
    latents = stores["autoencoder"].stored(clips[2]).latents
    assert latents.shape == (FRAMES, 8, 8, 12)
    assert torch.equal(latents, encoders.autoencoder.encode(video[None])[0].half())
    tokens = stores["image_encoder"].stored(clips[2]).tokens
    assert tokens.shape == (65, 128)
    assert torch.equal(tokens, encoders.image_encoder(video[KEY : KEY + 1])[0].half())


@torch.no_grad()
def test_reversed_latents_are_those_of_the_reversed_clip(encoders, clips):
    video = read_clip_pixels(clips[0])
    sample = {
        "video": video,
        "latents": encoders.autoencoder.encode(to_float(video)[None])[0],
        "tokens": encoders.image_encoder(to_float(video[KEY])[None])[0],
        "key_index": torch.tensor(KEY),
    }
    back = TemporalReversal(1)(sample, torch.Generator())
    seen = to_float(back["video"])
    # The same frames at other places of a batch: float32 sums in another order.
    close = {"atol": 1e-5, "rtol": 0}
    torch.testing.assert_close(back["latents"], encoders.autoencoder.encode(seen[None])[0], **close)
    key = seen[back["key_index"]][None]
    torch.testing.assert_close(back["tokens"], encoders.image_encoder(key)[0], **close)
    assert (back["latents"] - sample["latents"]).abs().max() > 0.1
    without_video = {name: value for name, value in sample.items() if name != "video"}
    blind = TemporalReversal(1)(without_video, torch.Generator())
    assert blind["key_index"] == back["key_index"] == FRAMES - 1 - KEY
    assert torch.equal(blind["latents"], back["latents"])


@torch.no_grad()
def test_mirrored_latents_are_not_those_of_the_mirrored_clip(encoders, clips):
    """Hence flips are refused beside them: off by a tenth of the latent's deviation or more."""
    video = read_clip_pixels(clips[0])
    flipped = to_float(HorizontalFlip(1)({"video": video}, torch.Generator())["video"])
    mirrored = encoders.autoencoder.encode(to_float(video)[None]).flip(-1)
    assert (encoders.autoencoder.encode(flipped[None]) - mirrored).square().mean().sqrt() > 0.1
    assert not HorizontalFlip.commutes


def test_ranks_share_and_a_stopped_run_goes_on(tmp_path, encoders, clips, few, monkeypatch, caplog):
    producer = encoders.producers("cpu")["autoencoder"]
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    produce_rows(clips, alone, producer)
    for rank in range(2):
        produce_rows(clips[::-1] if rank else clips, shared, producer, rank, world_size=2)
    assert len(contents(alone)) == 3
    assert contents(alone) == contents(shared)
    keys = [row["key"] for path in find_shards(shared) for row in read_header(path)["rows"]]
    assert sorted(keys) == sorted(clip.key for clip in clips)

    lost, cut, kept = find_shards(shared)
    lost.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    before, read = kept.stat().st_mtime_ns, []
    monkeypatch.setattr(encodings, "read_clip", lambda clip: read.append(clip) or read_clip(clip))
    produce_rows(clips, shared, producer)
    assert len(read) == 4
    assert contents(shared) == contents(alone)
    assert kept.stat().st_mtime_ns == before
    assert [r.message for r in caplog.records] == [f"{cut}: damaged; it is made again"]


def test_the_command_makes_and_verifies_them(movideo, tmp_path, videos, few):
    command = ("precompute", "--videos", videos, *OPTIONS, *ENCODERS)
    done = movideo(*command)
    assert done.code == 0, done.err
    (latents,), (tokens,) = (list((tmp_path / "data" / n).iterdir()) for n in ("latents", "tokens"))
    assert f"latents in data/latents/{latents.name} and tokens in data/tokens/" in done.out
    (fingerprint,) = {read_header(path)["estimators"]["autoencoder"] for path in latents.iterdir()}
    assert fingerprint == VideoAutoencoder().fingerprint()
    whole = movideo(*command, "--verify")
    assert whole.code == 0, whole.err
    for noun, count in (("labels", 6), ("latents", 5), ("tokens", 5)):  # one is kept to test
        assert f"missing: {noun} of 0 of {count} clips" in whole.out
    path = next(find_shards(tokens))
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    error = movideo(*command, "--verify").error
    assert error.startswith(f"1 damaged shards: {path.relative_to(tmp_path)}; remove them")


def test_those_of_another_encoder_are_told_and_left_alone(tmp_path, encoders, clips, caplog):
    torch.manual_seed(0)
    other = Encoders(VideoAutoencoder(None, AUTOENCODER))
    producers = [each.producers("cpu")["autoencoder"] for each in (encoders, other)]
    produce_rows(clips[:1], tmp_path / "first", producers[0])
    before = contents(tmp_path / "first")
    produce_rows(clips[:1], tmp_path / "second", producers[1])
    prints = [producer.settings["autoencoder"] for producer in producers]
    assert [record.message for record in caplog.records] == [
        f'{tmp_path / "second"}: asked for autoencoder="{prints[1]}", found '
        f'autoencoder="{prints[0]}" in {tmp_path / "first"}; making new latents'
    ]
    assert contents(tmp_path / "first") == before


def test_no_encoder_at_all():
    with pytest.raises(UserError, match=r"data\.encoders: empty; give an autoencoder"):
        Encoders()
