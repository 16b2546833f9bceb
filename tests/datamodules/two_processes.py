"""Trains on as many processes as asked and writes down each one's clips.

python tests/datamodules/two_processes.py PROCESSES BATCH_SIZE FOLDER_OF_VIDEOS OUT [CHECKPOINT]
"""

import json
import sys
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from datamodules import VideoClipDataModule
from datamodules.settings import SplitSettings, TrainingSettings
from movideo.clips.augment import HorizontalFlip
from tests.datamodules.test_loader import Journal

STEPS = 4


def main(processes: int, batch_size: int, videos: str, out: Path, checkpoint: str | None) -> None:
    torch.set_num_threads(1)
    data = VideoClipDataModule(
        videos=videos, data_dir=str(out.parent), num_frames=3, size=(32, 32), clips_per_video=1,
        batch_size=batch_size, num_workers=1,
        training=TrainingSettings(augmentations=[HorizontalFlip()]),
        split=SplitSettings(0, 0),
    )  # fmt: skip
    saving = ModelCheckpoint(out.parent, out.stem + "-{step}", every_n_train_steps=1, save_top_k=-1)
    trainer = L.Trainer(
        accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto",
        max_steps=STEPS, logger=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[saving],
    )  # fmt: skip
    torch.manual_seed(0)
    journal = Journal()
    trainer.fit(journal, data, ckpt_path=checkpoint)
    path = out.with_suffix(f".{trainer.global_rank}.json")
    path.write_text(json.dumps([batch[2] for batch in journal.batches]))


if __name__ == "__main__":
    main(
        int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), *sys.argv[5:] or [None]
    )
