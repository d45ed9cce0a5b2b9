"""Names: which there can be, what they lead to, and who has them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from persist_magic import facts as files
from persist_magic import persist
from persist_magic.errors import JobNotFound, NameTaken, RootRefused, UsageError
from persist_magic.names import check_name
from persist_magic.store import Store
from stores import new_store, publish


@pytest.fixture
def store(root: Path) -> Store:
    """The store of a root without jobs."""
    return new_store(root)


@pytest.mark.parametrize(
    "name",
    ["a", "A", "0", "train", "train.v2", "Train_3-b", "x" * 64, "20261122", "a" + "-" * 63],
)
def test_name_of_letters_digits_dots_and_dashes_is_taken(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", ".hidden", "-rf", "_a", "a b", "a/b", "../a", "a\n", "a\0", "a'b", "$x"),
        *("é", "a*", "x" * 65, "20261122-142233-train-7f3a0000"),
    ],
)
def test_odd_name_is_refused_and_not_mended(root: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a job"):
        persist(abs, name, args=(-1,))
    assert not (root / ".persist").exists()


def test_names_that_differ_in_case_are_different_jobs(store: Store) -> None:
    ids = {name: publish(store, name) for name in ("train", "Train", "TRAIN")}
    assert store.by_name() == ids


def test_job_is_found_by_name_and_by_id(store: Store) -> None:
    first = publish(store, "train")
    second = publish(store, "train", replacing=first)
    assert store.resolve("train").name == second
    assert store.resolve(first).name == first
    assert store.newest("train") == second
    assert set(store.ids()) == {first, second}


def test_unknown_name_offers_near_ones(store: Store) -> None:
    with pytest.raises(JobNotFound, match="there are no jobs in ") as caught:
        store.resolve("trian")
    assert "PERSIST_ROOT" in caught.value.hint
    publish(store, "train")
    with pytest.raises(JobNotFound, match="no job named 'trian'") as caught:
        store.resolve("trian")
    assert caught.value.hint == "did you mean 'train'? the only job is 'train'."
    for name in ("brain", "other", "fit"):
        publish(store, name)
    with pytest.raises(JobNotFound) as caught:
        store.resolve("trian")
    assert caught.value.hint == "did you mean 'train' or 'brain'? %persist_list shows all 4."
    with pytest.raises(JobNotFound) as caught:
        store.resolve("zzz")
    assert caught.value.hint == "%persist_list shows all 4"


@pytest.mark.parametrize(
    "name", ["../../elsewhere", "names", ".lock", "20261122-142233-x-00000000"]
)
def test_what_is_no_job_is_not_found(store: Store, name: str) -> None:
    publish(store, "train")
    with pytest.raises(JobNotFound):
        store.resolve(name)


def test_link_that_leads_out_of_the_root_finds_nothing(store: Store, tmp_path: Path) -> None:
    (store.names.directory / "evil").symlink_to(tmp_path)
    (store.names.directory / "dangling").symlink_to("../jobs/20261122-142233-dangling-00000000")
    for name in ("evil", "dangling"):
        with pytest.raises(JobNotFound):
            store.resolve(name)
    assert store.by_name() == {}


def test_taken_name_is_taken_for_everyone_who_did_not_know(store: Store) -> None:
    first = publish(store, "train")
    second = publish(store, "train", replacing=first)
    for known in (None, first):
        with store.new_job("train") as new:
            with pytest.raises(NameTaken):
                new.publish(known)
            new.withdraw()
    assert store.by_name() == {"train": second}
    assert set(store.ids()) == {first, second}


def test_name_whose_job_was_deleted_by_hand_is_free(store: Store) -> None:
    shutil.rmtree(store.jobs / publish(store, "train"))
    assert store.newest("train") is None
    second = publish(store, "train")
    assert store.by_name() == {"train": second}


def test_name_that_is_taken_in_the_last_moment_is_not_taken_away_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(store, "train")
    with store.new_job("train") as new, monkeypatch.context() as patch:
        # As if the link had been made between the look at it and the claim.
        patch.setattr(store.names, "leads_to", lambda name: None)
        with pytest.raises(NameTaken):
            new.publish()
        patch.undo()
        new.withdraw()
    assert store.by_name() == {"train": first}


def test_withdrawn_job_gives_its_name_back(store: Store) -> None:
    first = publish(store, "train")
    for replacing in (first, None):
        name = "train" if replacing else "other"
        with store.new_job(name) as new:
            new.publish(replacing)
            assert store.newest(name) == new.id
            new.withdraw()
    assert store.by_name() == {"train": first}
    assert store.ids() == [first]
    assert files.listing(store.names.directory) == {"train", ".lock"}


def test_lock_that_a_stopped_process_holds_is_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(store, "train")
    monkeypatch.setattr("persist_magic.names._LOCK_PATIENCE", 0.05)
    with (
        store.names.locked(),
        pytest.raises(RootRefused, match="another process has held") as caught,
    ):
        publish(store, "train", replacing=first)
    assert "stopped kernel" in caught.value.hint
