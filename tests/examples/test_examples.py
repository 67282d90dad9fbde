"""The examples run, and do what they say."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples import hae_by_hand

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_hae_by_hand_learns(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    success = hae_by_hand.main(seed)
    assert np.mean(success[:5]) < 0.4  # a policy that knows nothing opens the door in one episode of four
    assert np.mean(success[-10:]) > 0.95
    assert f"success {success[-1]:.2f}" in capsys.readouterr().out


def test_hae_by_hand_is_the_same_in_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert hae_by_hand.main() == hae_by_hand.main()


def test_hae_by_hand_runs_as_a_script() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "hae_by_hand.py")], capture_output=True, text=True, check=True
    )
    assert "success 1.00" in done.stdout.splitlines()[-1]
