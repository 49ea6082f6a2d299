from pathlib import Path

import pytest


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "site"
