"""Files of features, one a video, as `export` writes and `import` reads them:

    npy        <stream>/<id>.npy (T, D), and the folders pts_s and frame with <id>.npy (T,)
    npz        <id>.npz: an array a stream, pts_s and frame
    parquet    <id>.parquet, one row a moment: a list of numbers a stream, pts_s and frame

Beside them lies `export.json`, written last: the format, the streams in their order, what computed the features, and
the label, split and group of every video. It is JSON because that holds any name as it is: no character of an id parts
columns, is trimmed, or stands for another.
"""

import json
import re
import zipfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from pipeline.exchange.formats import FORMATS
from schemas.arrays import Array
from schemas.disk.files import make_folder, stays_inside, write_lines
from schemas.errors import ConfigError, ResourceError, StoreError
from schemas.plain import Plain, read_json, to_record

Arrays = dict[str, Array]

TIME_ARRAYS = ("pts_s", "frame")
MANIFEST, MANIFEST_FORMAT, MANIFEST_SCHEMA = "export.json", "vidu-pipe export", 1
_STREAM_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# Arrays of other meaning in files of ours, and the arguments of `np.savez`, which takes no array of these names.
_RESERVED = ("names", "labels", "classes", "folds", "seeds", "groups", "file", "allow_pickle")
# What NumPy, zipfile and pyarrow make of files that are damaged or are something else.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Annotation:
    """What people say of a video.

    Attributes:
        label: its label, or several as `a;b`; empty when unknown.
        split: `train`, `val`, `test` or empty.
        group: the recording, person or source it belongs to, or empty.
    """

    label: str = ""
    split: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What files of features can not say themselves.

    Attributes:
        form: a name of `FORMATS`.
        source: what computed the features.
        streams: their names, in order.
        said: video id -> what is said of it.
    """

    form: str
    source: str
    streams: tuple[str, ...]
    said: dict[str, Annotation]


def check_stream_name(name: str, where: str) -> None:
    """Refuse what can not name a stream, an array of a file and a folder alike.

    Raises:
        ConfigError: `name` is such; the message begins with `where`.
    """
    if not _STREAM_NAME.fullmatch(name) or name in _RESERVED:
        raise ConfigError(
            f"{where}: a stream can not be called {name!r}: a letter, then letters, digits, - and _, and "
            f"not one of {', '.join(_RESERVED)}"
        )


def read_arrays(path: Path) -> Array | Arrays:
    """Read the one array of a file, or all its arrays by name; a file of another suffix is taken for NumPy's.

    Raises:
        ConfigError: the file is damaged, holds Python objects, or is of no format of `FORMATS`.
        ResourceError: a library that its format needs is not installed.
    """
    form = FORMATS.get(path.suffix.removeprefix("."), FORMATS["npz"])
    try:
        # opened here: `np.load` leaves a file open that it finds damaged, and pyarrow takes only UTF-8 for its name
        with path.open("rb") as file:
            return form.read(file)
    except ResourceError:
        raise
    except UNREADABLE as error:
        raise ConfigError(f"{path} is not a plain {form.words} file: {error}") from error


def write_arrays(out: Path, video_id: str, arrays: Arrays, form: str) -> None:
    """Write the arrays of one video below `out`.

    Args:
        out: a folder.
        video_id: names the files and their folders.
        arrays: features (T, D) by stream, `pts_s` (T,) and `frame` (T,).
        form: a name of `FORMATS`.

    Raises:
        ResourceError: the file system refused, or a library that the format needs is not installed.
        StoreError: the id leads out of `out`.
    """
    one_array = FORMATS[form].one_array
    files = {out / name: {name: values} for name, values in arrays.items()} if one_array else {out: arrays}
    for folder, held in files.items():
        FORMATS[form].write(_place(folder, video_id, form), held)


def _place(folder: Path, video_id: str, form: str) -> Path:
    if not stays_inside(video_id) or PurePosixPath(video_id).as_posix() != video_id:
        raise StoreError(f"{video_id!r} is not the id of a video: the plan of the store is damaged")
    path = folder / f"{video_id}.{form}"  # appended, not with_suffix: an id may hold dots
    make_folder(path.parent)
    return path


def write_manifest(out: Path, manifest: Manifest) -> None:
    """Write `export.json`.

    Raises:
        ResourceError: the file system refused.
    """
    plain = {"format": MANIFEST_FORMAT, "schema": MANIFEST_SCHEMA} | asdict(manifest)
    write_lines(out / MANIFEST, [json.dumps(plain, indent=1)])


def read_manifest(folder: Path) -> Manifest | None:
    """Read the `export.json` of a folder; None where there is none.

    Raises:
        ConfigError: it is damaged, or of another version.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        plain = read_json(path, Plain)
        version = plain.pop("format", None), plain.pop("schema", None)
        manifest = to_record(plain, Manifest) if version == (MANIFEST_FORMAT, MANIFEST_SCHEMA) else None
    except ValueError as error:
        raise ConfigError(
            f"{path} is damaged: {error}; export anew, or import the folders of streams one by one, as "
            "`folders` rgb=DIR and `folders` pts_s=DIR"
        ) from error
    if manifest is None or manifest.form not in FORMATS:
        raise ConfigError(
            f"{path}: {version[0]!r} of schema {version[1]!r}; this version reads {MANIFEST_FORMAT!r} of "
            f"schema {MANIFEST_SCHEMA}, files of {', '.join(FORMATS)}"
        )
    return manifest
