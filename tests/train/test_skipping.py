import pytest

from vl2.errors import InputError
from vl2.train.skipping import SkippedRows, numbers_named


def lines(folder):
    return (folder / "skipped.txt").read_text("utf-8").splitlines()


def test_each_row_is_counted_and_written_once(tmp_path):
    skipped = SkippedRows(tmp_path, 2)
    skipped.settle()
    assert not (tmp_path / "skipped.txt").exists()
    skipped.add(["a: x", "b: y", "a: x"])
    skipped.settle()
    skipped.add(["b: y"])
    skipped.settle()
    assert lines(tmp_path) == list(skipped.reasons) == ["a: x", "b: y"]
    assert len(SkippedRows(tmp_path, 2)) == 2


def test_a_run_over_the_limit_does_not_go_on_when_it_is_called_again(tmp_path):
    for _ in range(2):
        skipped = SkippedRows(tmp_path, 2)
        skipped.add([f"row {number}: bad" for number in range(3)])
        with pytest.raises(InputError, match="3 rows cannot be used") as told:
            skipped.settle()
    with pytest.raises(InputError, match="max_skipped is 2"):
        SkippedRows(tmp_path, 2).settle()
    for way_out in ("Mend or remove", "--set max_skipped=3", "skipped.txt", "row 0: bad"):
        assert way_out in str(told.value)


def test_a_new_start_lists_what_is_broken_now(tmp_path):
    SkippedRows(tmp_path, 2).begin([])
    assert not (tmp_path / "skipped.txt").exists()
    (tmp_path / "skipped.txt").write_text("a: x\nb: y\nc: z\n")
    skipped = SkippedRows(tmp_path, 2)
    skipped.begin(["c: z"])
    assert lines(tmp_path) == ["c: z"]
    skipped.add(["a: x"])
    skipped.settle()
    assert lines(tmp_path) == ["c: z", "a: x"]
    with pytest.raises(InputError, match="3 rows"):
        skipped.begin(["a: x", "b: y", "c: z"])


def test_names_are_found_in_reasons():
    names = list(enumerate(["a, line 1", "odd: name, line 2", "a, line 12", "odd"]))
    reasons = ["odd: name, line 2: no 'messages': none", "a, line 12: broken"]
    # A name that ends in a colon's place is looked at as well: once too often, never too seldom.
    assert numbers_named(reasons, names) == [1, 2, 3]
    assert numbers_named([], names) == []
