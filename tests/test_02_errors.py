"""The error tree: pickles (workers raise it), exits with the contract's codes."""

import pickle

import pytest

from pipeline import errors


def _all() -> list[type[errors.TerrasketchError]]:
    return [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


@pytest.mark.parametrize("kind", _all())
def test_errors_pickle_with_their_message(kind: type[errors.TerrasketchError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("what, where")))
    assert type(copy) is kind
    assert str(copy) == "what, where"


def test_the_docstring_draws_every_error() -> None:
    assert errors.__doc__ is not None
    missing = [kind.__name__ for kind in _all() if kind.__name__ not in errors.__doc__]
    assert missing == []


def test_wrong_words_exit_with_2() -> None:
    assert errors.ConfigError.exit_code == 2
    assert errors.SourceError.exit_code == errors.OutputError.exit_code == 1
