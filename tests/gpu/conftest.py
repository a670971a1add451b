"""Tests marked `gpu` are skipped where the driver sees no GPU."""

import pytest
from device import gpu_is_there


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not gpu_is_there():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU"))


@pytest.fixture(autouse=True)
def _kernel_context():
    from harness import kernel_context

    with kernel_context():
        yield
