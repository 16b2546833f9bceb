"""A motion space: what stage 1 diffuses instead of normalised depth and flows."""

from dataclasses import replace

from diffusers.configuration_utils import register_to_config
from torch import Tensor

from movideo.motion.space import Motion, MotionSpace


class RootMotionSpace(MotionSpace):
    """Flow vectors enter with a root of their length: slow motion is then not drowned by noise."""

    @register_to_config
    def __init__(
        self,
        grid: tuple[int, int] = (32, 32),
        depth_std: float = 1.0,
        flow_std: float = 1.0,
        power: float = 0.5,
    ) -> None:
        super().__init__(grid, depth_std, flow_std)
        self.power = power

    def normalize(self, depth: Tensor, flow_i2v: Tensor, flow_v2i: Tensor) -> Motion:
        return self._with_lengths(super().normalize(depth, flow_i2v, flow_v2i), self.power)

    def split(self, sample: Tensor, key_index: Tensor) -> Motion:
        return self._with_lengths(super().split(sample, key_index), 1 / self.power)

    def _with_lengths(self, motion: Motion, power: float) -> Motion:
        def change(flow: Tensor) -> Tensor:
            return flow * flow.norm(dim=2, keepdim=True).clamp_min(1e-6) ** (power - 1)

        return replace(motion, flow_i2v=change(motion.flow_i2v), flow_v2i=change(motion.flow_v2i))
