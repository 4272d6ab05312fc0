"""Every error vidu-pipe raises on purpose.

    ViduError
    ├─ ConfigError(ValueError)       settings, an unknown name, a bad label file; raised before any work; exit code 2
    ├─ ResourceError(RuntimeError)   no GPU, weights missing, disk full, cluster unreachable; exit code 1
    │  └─ BusyError                  another process is writing there
    ├─ InputError(ValueError)        this video is bad: recorded, the run goes on; exit code 3 at its end
    │  ├─ VideoOpenError             not there, not a video, sound only, a still image, no decoder for its codec
    │  ├─ VideoDecodeError           opens, but breaks off or is damaged on the way
    │  ├─ VideoCrashError            decoding it ends the process that tries
    │  └─ EmptyVideoError            opens, but holds no frame
    └─ StoreError(ValueError)        a store or shard that is not ours, cut short, corrupt, or made with other settings

Only `workers/ledger.py` (and the planner's probe, its twin before any work) catches InputError and turns it into data.
Every error is built from one message, so every error pickles and crosses Ray unchanged.
"""


class ViduError(Exception):
    """Root of the tree; `exit_code` is what the command line ends with when the error reaches it."""

    exit_code = 1


class ConfigError(ViduError, ValueError):
    """The user asked for something that can not be: the message names it and the legal values."""

    exit_code = 2


class ResourceError(ViduError, RuntimeError):
    """The machine lacks something: the message names it and says how to get it."""


class BusyError(ResourceError):
    """Another process holds what this one would write; the message names both."""


class InputError(ViduError, ValueError):
    """One video is bad. The message names the file; the run goes on without it."""

    exit_code = 3


class VideoOpenError(InputError):
    """The file is missing, is not a video, or no decoder knows its codec."""


class VideoDecodeError(InputError):
    """The file opens, but decoding fails or ends before the frames it holds."""


class VideoCrashError(InputError):
    """Decoding this file ended its process, more than once and with no other video beside it."""


class EmptyVideoError(InputError):
    """The file opens and has a video stream, but not one frame comes out."""


class StoreError(ViduError, ValueError):
    """A store, plan, report or shard is not what it should be: the message names the file and the way out."""
