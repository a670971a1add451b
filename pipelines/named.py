"""Named pipelines: functions that return passes; their parameters are the pipeline's options."""

from lumir.passes.pipeline import Item


def cleanup(max_iterations: int = 10) -> list[str | Item]:
    """Fold, deduplicate and drop what nothing uses: `lumir-cleanup{max-iterations=3}`."""
    return [
        f"canonicalize{{max-iterations={max_iterations}}}",
        "cse",
        "symbol-dce",
    ]
