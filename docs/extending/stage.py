"""A stage with one line changed: it fills the role of the stage that it is derived from."""

from torch import Tensor

from movideo.clips.batch import ClipBatch
from stages import DepthFlowDiffusion


class FlowOnlyDiffusion(DepthFlowDiffusion):
    """Stage 1 that learns the flows of a clip and a flat depth: is depth worth its channel?"""

    def target(self, batch: ClipBatch) -> Tensor:
        target = super().target(batch).clone()
        target[:, :, 0] = 0
        return target
