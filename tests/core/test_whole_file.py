from __future__ import annotations

from pathlib import Path

import pytest

from yolor_deploy.core.whole_file import whole_file


def test_file_appears_when_all_is_well(tmp_path: Path) -> None:
    """Until the block ends there is nothing under the name, then all of it, and nothing else."""
    path = tmp_path / "result.txt"

    with whole_file(path) as temporary:
        temporary.write_text("all")
        there_meanwhile = path.exists()

    assert not there_meanwhile
    assert path.read_text() == "all"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failure_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    """An error or an interrupt leaves the old file, and no temporary one."""
    path = tmp_path / "result.txt"
    path.write_text("old")

    def work() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        work()

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_name_keeps_the_suffix(tmp_path: Path) -> None:
    """Writers that choose a format by suffix choose the right one, for names of any length."""
    with whole_file(tmp_path / f"{'x' * 240}.png") as temporary:
        assert temporary.suffix == ".png"


def test_file_is_readable_as_any_new_file(tmp_path: Path) -> None:
    """Permissions are those of a file that was simply opened for writing."""
    plain = tmp_path / "plain"
    plain.touch()

    with whole_file(tmp_path / "whole") as temporary:
        temporary.touch()

    assert (tmp_path / "whole").stat().st_mode == plain.stat().st_mode
