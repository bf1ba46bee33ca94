"""The data folder is made, checked, and claimed by one supervisor at a time."""

import multiprocessing
import os
from pathlib import Path

import pytest

from webapp.errors import CannotStartError
from webapp.supervisor import data_folder


def test_a_missing_folder_is_made_for_this_user_alone(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "data"
    data_folder.prepare(folder)
    data_folder.prepare(folder)

    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_everybody_may_write_to_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for mode in (0o777, 0o1777, 0o703):
        folder.chmod(mode)
        with pytest.raises(CannotStartError) as refused:
            data_folder.prepare(folder)

        assert f"chmod o-w {folder}" in str(refused.value)
        with pytest.raises(CannotStartError), data_folder.claimed(folder):
            pass


def test_a_folder_that_a_group_may_write_to_is_accepted(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o2775)
    data_folder.prepare(folder)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    with pytest.raises(CannotStartError, match="data"):
        data_folder.prepare(tmp_path / "data")


def test_a_private_folder_that_was_open_to_others_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "redis"
    folder.mkdir(parents=True, mode=0o755)
    data_folder.prepare_private(folder)

    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_private_folder_may_be_in_a_folder_for_temporary_files_of_everybody(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    folder = tmp_path / "bulk-upload" / "redis"
    data_folder.prepare_private(folder)

    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_link_in_place_of_a_private_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "redis").symlink_to(tmp_path)

    with pytest.raises(CannotStartError, match="redis"):
        data_folder.prepare_private(tmp_path / "redis")


def test_a_folder_is_claimed_once_and_free_after_that(tmp_path: Path) -> None:
    with data_folder.claimed(tmp_path) as claim:
        claim.announce("http://127.0.0.1:8123")
        with pytest.raises(CannotStartError) as refused, data_folder.claimed(tmp_path):
            pass

    assert f"http://127.0.0.1:8123 (process {os.getpid()})" in str(refused.value)
    with data_folder.claimed(tmp_path) as claim:
        assert not claim.unclean


def _die_with_a_claim(folder: Path) -> None:
    with data_folder.claimed(folder) as claim:
        claim.announce("http://127.0.0.1:8123")
        os._exit(0)


def test_a_supervisor_that_died_leaves_an_unclean_folder_that_can_be_claimed(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_die_with_a_claim, args=[tmp_path])
    process.start()
    process.join(30)

    assert process.exitcode == 0
    with data_folder.claimed(tmp_path) as claim:
        assert claim.unclean
