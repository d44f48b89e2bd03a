"""The error types: what catches what, and what they say."""

from __future__ import annotations

import pickle

import pytest

from vl2 import errors


@pytest.mark.parametrize("kind", [errors.ImageError, errors.ConversationError, errors.ContextError])
def test_bad_input_is_a_value_error_too(kind: type[errors.InputError]) -> None:
    with pytest.raises(ValueError, match="said"):
        raise kind("said")
    assert issubclass(kind, errors.InputError)


def test_other_errors_are_no_value_errors() -> None:
    assert not issubclass(errors.CheckpointError, ValueError)
    assert not issubclass(errors.MissingExtraError, ValueError)
    assert not issubclass(errors.BusyError, ValueError)
    assert not issubclass(errors.EngineError, ValueError)


def test_a_missing_extra_names_the_command() -> None:
    error = errors.MissingExtraError.for_extra("serve", "The HTTP server")
    assert str(error).startswith("The HTTP server needs")
    assert "pip install 'vl2[serve]'" in str(error)
    assert "pip install -e '.[serve]'" in str(error)


def test_errors_travel_between_processes() -> None:
    for error in (
        errors.ContextError("too long"),
        errors.MissingExtraError.for_extra("web", "The page"),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("aks", " Did you mean 'ask'?"),
        ("READ", " Did you mean 'read'?"),
        ("zebra", ""),
        ("", ""),
        ("\0" * 100_000, ""),
    ],
)
def test_the_nearest_name_is_told(wrong, told) -> None:
    assert errors.did_you_mean(wrong, ("ask", "read")) == told
