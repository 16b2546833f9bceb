"""One step of stage 3 on as many processes as asked, the global batch always the same.

python tests/stages/two_processes.py PROCESSES MICRO_BATCH_SIZE OUT
"""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, DistributedSampler

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from stages import FlowDecoderGAN
from tests.stages.parts import Clips, decoder_parts, trainer

CLIPS = 4


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def main(processes: int, micro_batch_size: int, out: Path) -> None:
    torch.set_num_threads(1)
    options = {"optimizer": sgd, "discriminator_optimizer": sgd, "gradient_clip_val": None}
    stage = FlowDecoderGAN(**decoder_parts(micro_batch_size=micro_batch_size, **options))
    strategy = "ddp_find_unused_parameters_true" if processes > 1 else "auto"
    runner = trainer(out.parent, 1, devices=processes, strategy=strategy)
    sampler = DistributedSampler(Clips(CLIPS), processes, runner.global_rank, shuffle=False)
    runner.fit(stage, DataLoader(Clips(CLIPS), CLIPS // processes, sampler=sampler))
    if runner.is_global_zero:
        trained = dict(stage.decoder.named_parameters(prefix="decoder"))
        trained |= stage.adversarial.named_parameters(prefix="adversarial")
        torch.save({name: p.detach() for name, p in trained.items()}, out)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
