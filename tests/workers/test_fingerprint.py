import os
import shutil

import pytest

from schemas.errors import VideoOpenError
from workers.fingerprint import END_BYTES, fingerprint


def test_a_fingerprint_follows_the_file_not_its_name(tmp_path):
    one = tmp_path / "one.mp4"
    one.write_bytes(os.urandom(3 * END_BYTES))
    two = shutil.copy(one, tmp_path / "two.mp4")
    assert fingerprint(str(one)) == fingerprint(str(two))
    assert len(fingerprint(str(one))) == 16


@pytest.mark.parametrize("size", [0, 1, END_BYTES - 1, END_BYTES + 1, 5 * END_BYTES])
def test_a_file_that_grew_was_cut_or_has_other_ends_is_another(tmp_path, size):
    path, data = tmp_path / "a.mp4", bytearray(os.urandom(size))
    marks = set()
    changes = [data, data + b"x"] + ([data[:-1], bytes([data[0] ^ 1]) + data[1:]] if size > 1 else [])
    for changed in changes:
        path.write_bytes(changed)
        marks.add(fingerprint(str(path)))
    assert len(marks) == len(changes)


def test_what_can_not_be_read_is_a_typed_error_that_names_it(tmp_path):
    with pytest.raises(VideoOpenError, match=r"gone\.mp4"):
        fingerprint(str(tmp_path / "gone.mp4"))
    with pytest.raises(VideoOpenError, match=tmp_path.name):
        fingerprint(str(tmp_path))


def test_a_pipe_is_refused_at_once_and_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoOpenError, match=r"pipe\.mp4"):
        fingerprint(str(tmp_path / "pipe.mp4"))
