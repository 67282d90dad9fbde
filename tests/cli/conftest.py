from collections.abc import Callable

import pytest

from hiper.cli import main


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command says when it fails: exit code 1, nothing on standard output, one line that names the program."""

    def run(*argv: str) -> str:
        capsys.readouterr()
        assert main(argv) == 1
        out, err = capsys.readouterr()
        assert out == ""
        (said,) = [line for line in err.splitlines() if line.startswith("hiper: ")]
        assert err.splitlines()[-1] == said
        return said.removeprefix("hiper: ")

    return run
