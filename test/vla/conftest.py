"""Small VLA, trained once for all tests of this folder."""

from __future__ import annotations

import pytest
from toy_vla import Trained, train


@pytest.fixture(scope="session")
def trained() -> Trained:
    """A VLA that knows the toy task."""
    return train()
