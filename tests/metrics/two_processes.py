"""Metrics of the same videos on two processes, the first of which may have none.

python tests/evaluation/two_processes.py RANK FOLDER
"""

import json
import sys
from pathlib import Path

import torch
import torch.distributed

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from movideo.metrics import PSNR, EmbeddedVideoDistance, FrechetDistance
from movideo.metrics.extractors import VideoNetwork
from tests.metrics.parts import Classifier, judged, part, random_clips

# which process gets which of six videos; a sampler repeats some, so that all have as many
SHARES = {"even": [[0, 2, 4], [1, 3, 5, 0]], "one has none": [[], [0, 1, 2, 3, 4, 5]]}


def results(share: list[int]) -> list[float]:
    found: list[float] = []
    for metric in (PSNR(), EmbeddedVideoDistance(), FrechetDistance(VideoNetwork(Classifier()))):
        for index in share:
            metric.update(part(clips_of_all(), [index]))
        found += [metric.compute().item(), *(metric.interval(replicates=10) or ())]
    return found


def gathered(share: list[int]) -> list[float]:
    """The same on the first process alone, after which none waits for another."""
    found: list[float] = []
    for metric in (PSNR(), EmbeddedVideoDistance(), FrechetDistance(VideoNetwork(Classifier()))):
        for index in share:
            metric.update(part(clips_of_all(), [index]))
        metric.gather_to_first()
        if torch.distributed.get_rank() == 0:
            found += [metric.compute().item(), *(metric.interval(replicates=10) or ())]
        else:
            assert len(metric.table()[0]) == 0
    return found


def clips_of_all():
    return judged(random_clips(6), truth=random_clips(6, seed=1))


def main(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2
    )
    found = {name: results(shares[rank]) for name, shares in SHARES.items()}
    found |= {f"{name}, gathered": gathered(shares[rank]) for name, shares in SHARES.items()}
    torch.distributed.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
