"""The corpus takes its dispatches from the GPU tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "gpu"))
sys.path.append(str(Path(__file__).parent))
