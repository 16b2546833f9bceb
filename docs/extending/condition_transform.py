"""A condition transform: what stage 2 is shown of depth, warped latent and mask."""

from dataclasses import replace

import torch

from movideo.motion.condition import ConditionTransform, MotionCondition


class NoDepth(ConditionTransform):
    """Depth is zero, in training and in the pipeline alike: the ablation of what depth is worth."""

    def __call__(self, condition: MotionCondition) -> MotionCondition:
        return replace(condition, depth=torch.zeros_like(condition.depth))
