"""The steps of the compiler as one tuple, the checks between them, and named pipelines."""

from lumir.pipelines.stages import STAGES, Stage, stage

__all__ = ["STAGES", "Stage", "stage"]
