"""Collects every `*.mlir` file here as a test that runs its `// RUN:` lines; see README.md."""

from pathlib import Path

import pytest
from run_lines import ScriptError, read_script, run_line


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "FilecheckFile | None":
    if file_path.suffix != ".mlir" or "Inputs" in file_path.parts:
        return None
    return FilecheckFile.from_parent(parent, path=file_path)


class FilecheckFile(pytest.File):
    def collect(self):
        yield FilecheckItem.from_parent(self, name=self.path.stem)


class FilecheckItem(pytest.Item):
    """One file; its RUN lines run in order until one fails."""

    def runtest(self) -> None:
        script = read_script(self.path.read_text())
        if missing := script.missing():
            pytest.skip(f"requires {', '.join(missing)}")
        folder = self.config._tmp_path_factory.mktemp("filecheck")  # pyright: ignore[reportAttributeAccessIssue]
        for line in script.runs:
            run_line(line, self.path, folder / f"{self.path.stem}.tmp")

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, ScriptError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, 0, f"filecheck: {self.path.name}"
