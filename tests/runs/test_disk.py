"""Disks that are full or must not be written to: one clear line, and nothing lost."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from safetensors import SafetensorError

from hiper.cli import main
from tests.runs.tiny import carry_out, config_file, contents, metrics, saved

Disk = tuple[Path, Callable[[str], None]]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk of its own, and what changes its settings. Only who may mount can have one."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
        subprocess.run(command, check=True, capture_output=True)

    try:
        mount("size=1600k")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a file system")
    yield folder, mount
    subprocess.run(["umount", str(folder)], check=True)


def said_by(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of the error."""
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("hiper: ")]
    return line


def test_a_full_disk_loses_nothing(tmp_path: Path, disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, mount = disk
    out, command = folder / "run", ["train", str(config_file(tmp_path)), "--out", str(folder / "run")]
    for _ in range(2):
        assert main(command) == 1
        said = said_by(capsys)
        assert "sft-000003 could not be written" in said
        assert "No space left on device" in said
        assert "the same command goes on from the one before" in said
        assert saved(out) == ["sft-000002"]
    mount("remount,size=100m")
    assert main(command) == 0
    carry_out(tmp_path / "other")
    assert metrics(out) == metrics(tmp_path / "other")
    assert saved(out) == saved(tmp_path / "other")
    for name in saved(out):
        assert contents(out / "checkpoints" / name) == contents(tmp_path / "other" / "checkpoints" / name)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        Exception("No space left on device (os error 28)"),  # as the tokenizers library says it
    ],
    ids=["python", "safetensors", "tokenizers"],
)
def test_however_it_is_said(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    carry_out(tmp_path / "run", only_imitation=True)
    before = contents(tmp_path / "run" / "checkpoints" / "sft-000003")

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("hiper.runs.checkpoint.save_file", full)
    assert main(["train", str(config_file(tmp_path)), "--out", str(tmp_path / "run")]) == 1
    assert "step-000002 could not be written" in said_by(capsys)
    assert saved(tmp_path / "run") == ["sft-000002", "sft-000003"]
    assert contents(tmp_path / "run" / "checkpoints" / "sft-000003") == before


def test_no_room_for_a_row_of_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, row: object) -> None:
        with path.open("a", encoding="utf-8") as out:
            out.write('{"half')
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    command = ["sft", str(config_file(tmp_path)), "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr("hiper.runs.folder.append_jsonl", full)
        assert main(command) == 1
    assert said_by(capsys) == "hiper: No space left on device; free some space and give the same command again"
    assert main(command) == 0
    assert len(metrics(tmp_path / "run")) == 3


def test_a_disk_that_must_not_be_written_to(tmp_path: Path, disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    folder, mount = disk
    mount("remount,ro")
    assert main(["train", str(config_file(tmp_path)), "--out", str(folder / "run")]) == 1
    assert said_by(capsys) == f"hiper: {folder / 'run'}: Read-only file system"
    assert main(["eval", "expert", "--env", "few", "--json", str(folder / "result.json")]) == 1
    assert said_by(capsys).startswith(f"hiper: {folder}")
    mount("remount,rw")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the test above covers it")
def test_a_folder_without_the_right_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    assert main(["train", str(config_file(tmp_path)), "--out", str(folder / "run")]) == 1
    assert said_by(capsys) == f"hiper: {folder / 'run'}: Permission denied"
