"""An exponential moving average of the trained weights, beside the raw ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Averages parameters by name.

    The decay is ramped, `min(decay, (1 + n) / (10 + n))` at update n, or short runs would keep
    their initial weights. The first update takes the parameters as they are.

    Attributes:
        tensors: the averages by parameter name; empty before the first update.
        updates: n.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.tensors: dict[str, Tensor] = {}
        self.updates = 0

    def update(self, parameters: Mapping[str, Tensor]) -> None:
        """Takes in the parameters as they are after an optimiser step."""
        parameters = {name: p.detach() for name, p in parameters.items()}
        if not self.tensors:
            self.tensors = {name: p.clone() for name, p in parameters.items()}
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averages = [self.tensors[name].to(p.device) for name, p in parameters.items()]
        get_ema_multi_avg_fn(decay)(averages, list(parameters.values()), None)
        self.tensors = dict(zip(parameters, averages, strict=True))

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Within it the module computes with the averages; they are swapped in, not copied."""
        parameters = {name: p for name, p in module.named_parameters() if name in self.tensors}
        raw = {name: p.data for name, p in parameters.items()}
        for name, parameter in parameters.items():
            parameter.data = self.tensors[name].to(parameter.device)
        try:
            yield
        finally:
            for name, parameter in parameters.items():
                parameter.data = raw[name]
