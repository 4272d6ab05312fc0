"""What planning found out of each file, on disk as it comes: a long planning that is killed goes on where it was."""

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipeline.planning.find import Found
from pipeline.planning.plan import Planned, first_plan
from schemas.errors import InputError, MachineError, ResourceError, StoreError
from schemas.plain import Plain
from schemas.plan import Failure, Plan
from workers.fingerprint import fingerprint

_ONE_SHARD = 1 << 62  # frames
Result = Planned | Failure


class KeptProbes:
    """One JSON line a file in a store that has no plan of it yet; `forget` it when the plan is written.

    A line holds the file's size and time of change, and its part of a plan. A last line that was cut does no harm.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there.

        Args:
            path: of the file, in the store that is planned; all lines are of the store's settings.

        Raises:
            ResourceError: it can not be read.
        """
        self._path = path
        self._rows: dict[str, Plain] = {}
        try:
            lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        except OSError as error:
            raise ResourceError(f"cannot read {path}: {error}") from error
        for line in lines:
            with suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                self._rows[row["id"]] = row

    def find(self, found: Found, attempt: int) -> Result | None:
        """Return what was found out of a file, if it is the same file still."""
        row = self._rows.get(found.id)
        if row is None or row["file"] != _state(found.path):
            return None
        try:
            plan = Plan.from_json_lines(row["plan"])
            mark = fingerprint(found.path)
        except (StoreError, InputError):
            return None
        if plan.failures:
            failure = plan.failures[0]
            return failure if failure.fingerprint in ("", mark) else None
        video = plan.videos[0]
        if video.fingerprint != mark:
            return None
        today = replace(
            video, path=found.path, label=found.label, split=found.split, group=found.group, attempt=attempt
        )
        return Planned(today, tuple(segment for task in plan.shards for segment in task.segments))

    def keep(self, found: Found, result: Result) -> None:
        """Write a result down, but not what the machine failed at.

        Raises:
            ResourceError: it can not be written.
        """
        state = _state(found.path)
        if state is None or (isinstance(result, Failure) and result.reason == MachineError.__name__):
            return
        row = {"id": found.id, "file": state, "plan": list(first_plan([result], _ONE_SHARD).to_json_lines())}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n" + json.dumps(row))  # the line before may have been cut
        except OSError as error:
            raise ResourceError(
                f"cannot write {self._path}: {error}; free space, then run the same command again"
            ) from error

    def forget(self) -> None:
        """Remove the file: the plan knows all now."""
        self._path.unlink(missing_ok=True)


def _state(path: str) -> list[object] | None:
    """Return where a file lies, its size and its time of change; None when it can not be seen."""
    try:
        stat = Path(path).stat()
    except OSError:
        return None
    return [path, stat.st_size, stat.st_mtime_ns]
