"""Finding the kernels, or doing without them."""

import logging

import pytest

from vl2.errors import InputError
from vl2.ops.kernels import library


@pytest.fixture(autouse=True)
def _fresh():
    library.library.cache_clear()
    library.tell_if_missing.cache_clear()
    yield
    library.library.cache_clear()
    library.tell_if_missing.cache_clear()


def test_without_the_library_torch_computes_and_one_warning_says_so(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "absent.so")
    monkeypatch.delenv(library.VARIABLE, raising=False)
    with caplog.at_level(logging.WARNING, logger="vl2"):
        for _ in range(3):
            library.tell_if_missing()
    assert library.instruction_set() == "torch"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "vl2.ops.kernels.build" in caplog.text


def test_a_library_of_another_system_counts_as_missing(monkeypatch, tmp_path):
    (tmp_path / "x.so").write_bytes(b"not a library")
    monkeypatch.setattr(library, "LIBRARY", tmp_path / "x.so")
    assert library.library() is None


def test_off_is_off_without_a_word(monkeypatch, caplog):
    monkeypatch.setenv(library.VARIABLE, "off")
    library.tell_if_missing()
    assert library.library() is None
    assert not caplog.records


@pytest.fixture
def installed(compiled, monkeypatch):
    monkeypatch.setattr(library, "open_library", lambda _: compiled)
    return compiled


def test_an_instruction_set_can_be_chosen(installed, monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "portable")
    assert library.instruction_set() == "portable"


def test_the_best_one_is_the_default(installed, monkeypatch):
    monkeypatch.delenv(library.VARIABLE, raising=False)
    assert library.instruction_set() in library.INSTRUCTION_SETS


def test_what_does_not_exist_is_refused(installed, monkeypatch):
    monkeypatch.setenv(library.VARIABLE, "abacus")
    with pytest.raises(InputError, match="'abacus'"):
        library.library()
