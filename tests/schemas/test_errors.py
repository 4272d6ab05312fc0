import pickle

import pytest

from schemas import errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_of_the_tree_and_pickles_with_its_words(kind):
    error = pickle.loads(pickle.dumps(kind("a.mp4: is bad")))
    assert type(error) is kind
    assert str(error) == "a.mp4: is bad"
    assert isinstance(error, errors.ViduError)


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [
        (errors.ConfigError, 2),
        (errors.ResourceError, 1),
        (errors.StoreError, 1),
        (errors.InputError, 3),
        (errors.VideoOpenError, 3),
        (errors.VideoDecodeError, 3),
        (errors.VideoCrashError, 3),
        (errors.VideoTooLargeError, 3),
        (errors.EmptyVideoError, 3),
    ],
)
def test_the_error_decides_the_exit_code(kind, exit_code):
    assert kind.exit_code == exit_code


def test_the_docstring_draws_every_error():
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in KINDS if kind.__name__ not in drawn] == []


@pytest.mark.parametrize(
    "builtin",
    [
        (errors.ConfigError, ValueError),
        (errors.ResourceError, RuntimeError),
        (errors.InputError, ValueError),
        (errors.StoreError, ValueError),
    ],
)
def test_errors_are_also_the_builtin_kind_that_callers_expect(builtin):
    ours, theirs = builtin
    assert issubclass(ours, theirs)
