"""A training step with two optimisers, by hand: the one place where Lightning does not drive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from movideo.clips.batch import ClipBatch, split_batch
from movideo.errors import UserError
from movideo.losses import AdversarialLoss, VideoLoss, adaptive_ratio
from stages.base import ParameterGroups, Stage, grouped_optimizer


class Terms(NamedTuple):
    """Loss terms of a decoded batch `(B, F, 3, H, W)`, unweighted, by name."""

    decoded: Tensor
    plain: dict[str, Tensor]
    adversarial: dict[str, Tensor]


class AdversarialStage(Stage):
    """Trains a network that makes video, and discriminators against it (MoVideo Eq. 18).

    A subclass says what is decoded (`decode`), where the adaptive weight is measured
    (`last_layer`), and which parameters are the network's (`generator`).

    With two optimisers Lightning leaves the step to us. A batch is one training step, whatever is
    done inside it: `global_step`, `max_steps`, schedules, checkpoints and the log all count those.
    Several processes need `strategy: ddp_find_unused_parameters_true`, for neither of the two
    backward passes uses all parameters.

    Args:
        losses: the plain terms by name.
        adversarial: the GAN terms by name; each holds its discriminator.
        micro_batch_size: clips that go through the networks at once, the whole batch by default.
            The step is the same; the memory is not.
        gradient_clip_val: largest norm of the gradient of either optimiser, None for any.
        discriminator_optimizer: makes that of all discriminators together.
        kwargs: see `Stage`.
    """

    def __init__(
        self,
        losses: dict[str, VideoLoss],
        adversarial: dict[str, AdversarialLoss],
        micro_batch_size: int | None = None,
        gradient_clip_val: float | None = 1.0,
        discriminator_optimizer: OptimizerCallable = torch.optim.AdamW,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if micro_batch_size is not None and micro_batch_size < 1:
            raise UserError(f"model.micro_batch_size: {micro_batch_size}; give 1 or more, or null")
        self.automatic_optimization = False
        self.losses, self.adversarial = nn.ModuleDict(losses), nn.ModuleDict(adversarial)
        self._losses, self._adversarial = losses, adversarial  # the same, with their types
        self.micro_batch_size = micro_batch_size
        self.gradient_clip_val = gradient_clip_val
        self.make_discriminator_optimizer = discriminator_optimizer

    # ------------------------------------------------------------------------------ to be defined

    @property
    def generator(self) -> nn.Module:
        """The network that makes video."""
        raise NotImplementedError

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight of the network at which the adaptive weight is measured."""
        raise NotImplementedError

    def prepare(self, batch: ClipBatch, batch_idx: int) -> ClipBatch:
        """What training does to a batch before it is split."""
        return batch

    def decode(self, batch: ClipBatch) -> Tensor:
        """The network's video `(B, F, 3, H, W)`."""
        raise NotImplementedError

    # ----------------------------------------------------------------------------------- training

    @property
    def clip_val(self) -> float | None:
        """See `Stage`: its own, since Lightning clips nothing by itself here."""
        return self.gradient_clip_val

    def on_train_start(self) -> None:
        """Refuses what Lightning would, but for the reader: at the second step it says less.

        Raises:
            UserError: as in `Stage`; or the processes expect gradients of all parameters.
        """
        super().on_train_start()
        strategy = self.trainer.strategy
        if not isinstance(strategy, DDPStrategy) or self.trainer.world_size == 1:
            return
        if not strategy._ddp_kwargs.get("find_unused_parameters"):
            raise UserError(
                "trainer.strategy: with two optimisers no backward pass uses all parameters; "
                "give ddp_find_unused_parameters_true"
            )

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """A step of the network and, once the GAN has started, one of the discriminators."""
        active = [name for name, loss in self._adversarial.items() if loss.active(self.global_step)]
        clips = len(batch["video"])
        parts = split_batch(self.prepare(batch, batch_idx), self.micro_batch_size or clips)
        network, discriminators = self._optimizers()
        with self.toggled_optimizer(network):
            decoded, loss = self._descend(parts, active)
            network.step()  # the one step of the two that Lightning counts
            self.update_average()
            network.zero_grad()
        if active:
            with self.toggled_optimizer(discriminators):
                self._descend_discriminators(parts, decoded, active)
                # What `discriminators.step()` does, the count apart.
                self.trainer.strategy.optimizer_step(discriminators.optimizer, _nothing)
                discriminators.zero_grad()
        for scheduler in self._schedulers():
            scheduler.step()
        return loss

    def _descend(self, parts: list[ClipBatch], active: list[str]) -> tuple[list[Tensor], Tensor]:
        """Gradients of Eq. 18 for the network; gives back what it decoded, and the loss."""
        # A single part is decoded once. Of several, one after the other, no two graphs are held.
        only = self.terms(parts[0], active) if len(parts) == 1 else None
        passes = (only or self.terms(part, active) for part in parts)
        ratios = self._ratios(passes) if active else {}
        self.log_dict({f"train/adaptive_weight_{name}": ratio for name, ratio in ratios.items()})
        decoded, log = [], Mean()
        for part in parts:
            terms, share = only or self.terms(part, active), _share(part, parts)
            loss = self.total(terms, ratios)
            if self._logs_this_step():
                log.add(self._gradient_norms(terms, ratios), share)
            self.manual_backward(loss * share)
            decoded.append(terms.decoded.detach())
            log.add({"loss": loss, **self.curves(terms)}, share)
        total = log.pop("loss")
        self.log("train/loss", total, prog_bar=True)
        self.log_dict({f"train/{name}": value for name, value in log.items()})
        return decoded, total

    def _descend_discriminators(
        self, parts: list[ClipBatch], decoded: list[Tensor], active: list[str]
    ) -> None:
        """Gradients of the discriminators' own losses."""
        log = Mean()
        for part, video in zip(parts, decoded, strict=True):
            verdicts = {
                name: self._adversarial[name].judge(video, part["video"]) for name in active
            }
            share = _share(part, parts)
            self.manual_backward(torch.stack([v.loss for v in verdicts.values()]).sum() * share)
            for name, verdict in verdicts.items():
                log.add({f"{k}_{name}": v for k, v in verdict._asdict().items()}, share)
        self.log_dict({f"train/discriminator_{name}": value for name, value in log.items()})

    def terms(self, batch: ClipBatch, active: Iterable[str]) -> Terms:
        """Every term of Eq. 18 for a batch; of the GAN's only those that are active."""
        decoded, truth = self.decode(batch), batch["video"]
        return Terms(
            decoded,
            {name: loss(decoded, truth) for name, loss in self._losses.items()},
            {name: self._adversarial[name](decoded, truth) for name in active},
        )

    def total(self, terms: Terms, ratios: dict[str, Tensor]) -> Tensor:
        """Eq. 18: the terms under their weights, those of the GAN also under their ratios."""
        loss = self._plain_total(terms)
        for name, term in terms.adversarial.items():
            loss = loss + self._adversarial[name].weight * ratios[name] * term
        return loss

    def _logs_this_step(self) -> bool:
        every = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return bool(every) and (self.global_step + 1) % every == 0

    def _gradient_norms(self, terms: Terms, ratios: dict[str, Tensor]) -> dict[str, Tensor]:
        """Norm of each term's gradient at the decoded pixels, under its weights, by its curve.

        What a term's value says nothing about: how hard it pulls.
        """
        pulls = {
            loss.curve: loss.weight * terms.plain[name]
            for name, loss in self._losses.items()
            if loss.active(self.global_step)
        } | {
            self._adversarial[name].curve: self._adversarial[name].weight * ratios[name] * term
            for name, term in terms.adversarial.items()
        }
        norms = {}
        for curve, pull in pulls.items():
            # Of a mean over pixels, a gradient is too small for float16.
            scaled = pull * terms.decoded.numel()
            (gradient,) = torch.autograd.grad(scaled, terms.decoded, retain_graph=True)
            norms[f"gradient_norm_{curve}"] = gradient.float().norm() / terms.decoded.numel()
        return norms

    def _plain_total(self, terms: Terms) -> Tensor:
        weighted = (
            loss.weight * terms.plain[name]
            for name, loss in self._losses.items()
            if loss.active(self.global_step)
        )
        return torch.stack(list(weighted)).sum()

    def _ratios(self, passes: Iterable[Terms]) -> dict[str, Tensor]:
        """The adaptive weight of each GAN term, from gradients of the whole batch on all ranks."""
        sums: dict[str, Tensor] = {}
        for terms in passes:
            for name, term in {"": self._plain_total(terms), **terms.adversarial}.items():
                # Of a mean over pixels, a gradient is too small for float16; their ratio stays.
                scaled = term * terms.decoded.numel()
                (gradient,) = torch.autograd.grad(scaled, self.last_layer, retain_graph=True)
                sums[name] = sums.get(name, 0) + gradient.float()
        means = {
            name: self.trainer.strategy.reduce(s, reduce_op="mean") for name, s in sums.items()
        }
        plain = means.pop("")
        return {
            name: adaptive_ratio(plain, gradient, self._adversarial[name].max_ratio)
            for name, gradient in means.items()
        }

    def curves(self, terms: Terms) -> dict[str, Tensor]:
        """The terms by the names of their curves."""
        return {self._losses[name].curve: term for name, term in terms.plain.items()} | {
            self._adversarial[name].curve: term for name, term in terms.adversarial.items()
        }

    # --------------------------------------------------------------------------------- optimisers

    def averaged_parameters(self) -> dict[str, nn.Parameter]:
        """The network's alone: nobody uses a discriminator after training."""
        own = set(self.generator.parameters())
        return {name: p for name, p in super().averaged_parameters().items() if p in own}

    def parameter_groups(self) -> ParameterGroups:
        """The network's parameters."""
        return [(self.generator.parameters(), 1.0)]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """One optimiser for the network, one for all discriminators, each with its schedule."""
        optimizers = {
            "lr-network": grouped_optimizer(self.make_optimizer, self.parameter_groups()),
            "lr-discriminators": grouped_optimizer(
                self.make_discriminator_optimizer, [(self.adversarial.parameters(), 1.0)]
            ),
        }
        schedulers: list[dict[str, object]] = [
            {"scheduler": self.schedule(optimizer), "interval": "step", "name": name}
            for name, optimizer in optimizers.items()
        ]
        return list(optimizers.values()), schedulers  # type: ignore[return-value]

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips here, where gradients are no longer scaled for float16."""
        if self.clip_val is not None:
            self.clip_gradients(optimizer, self.clip_val, "norm")

    def _optimizers(self) -> tuple[LightningOptimizer, LightningOptimizer]:
        network, discriminators = cast(list[LightningOptimizer], self.optimizers())
        return network, discriminators

    def _schedulers(self) -> list[Any]:
        return cast(list[Any], self.lr_schedulers())


class Mean(dict[str, Tensor]):
    """Weighted means for the log, by name."""

    def add(self, values: dict[str, Tensor], share: float) -> None:
        """Counts some values with their share of the whole."""
        for name, value in values.items():
            self[name] = self.get(name, 0) + value.detach() * share


def _share(part: ClipBatch, parts: list[ClipBatch]) -> float:
    return len(part["video"]) / sum(len(other["video"]) for other in parts)


def _nothing() -> None:
    """The gradients are there already."""
