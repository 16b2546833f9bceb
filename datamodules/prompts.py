"""A file of prompts to measure a model on, without true clips."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from datamodules.evaluation import Description, EvaluationDataModule, Sample, TrueClip
from movideo.clips.key_frames import list_prompts


class PromptList(EvaluationDataModule):
    """Videos of prompts, measured by what they show and how steadily.

    Args:
        prompts: .txt, one a line, or .csv or .jsonl with a column `prompt`.
        fps: frames per second that the model is told.
        **options: as for `EvaluationDataModule`.
    """

    data_set = "prompts"

    def __init__(
        self,
        prompts: str = "prompts.txt",
        fps: float = 3.0,
        **options: Any,
    ) -> None:
        self.prompts = prompts
        super().__init__(fps=fps, **options)

    @cached_property
    def _prompts(self) -> dict[str, str]:
        return list_prompts(self.prompts)

    def videos(self) -> dict[str, Path]:
        """None; but the prompts are read, so that what is wrong with them is told early."""
        _ = self._prompts
        return {}

    def list_samples(self, clips: dict[str, TrueClip]) -> list[Sample]:
        """One a prompt."""
        return [Sample(name, prompt) for name, prompt in self._prompts.items()]

    @override
    def described(self) -> Description:
        return {"prompts": f"{len(self._prompts)} in {Path(self.prompts).name}"}
