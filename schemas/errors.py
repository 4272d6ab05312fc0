"""Every error vidu-pipe raises on purpose.

    ViduError
    ├─ ConfigError(ValueError)       settings, an unknown name, a bad label file; raised before any work; exit code 2
    ├─ ResourceError(RuntimeError)   no GPU, weights missing, disk full, cluster unreachable; exit code 1
    │  ├─ MachineError                a read failed, memory ran out: what met it is begun again, no video is blamed
    │  └─ BusyError                  another process is writing there
    ├─ InputError(ValueError)        this video is bad: recorded, the run goes on; exit code 3 at its end
    │  ├─ VideoOpenError             not there, not a video, sound only, a still image, no decoder for its codec
    │  ├─ VideoDecodeError           opens, but breaks off or is damaged on the way
    │  ├─ VideoTooLargeError         its pictures ask for more memory than any video is given
    │  ├─ VideoCrashError            decoding it ends the process that tries, or asks more than the machine gives
    │  └─ EmptyVideoError            opens, but holds no frame
    └─ StoreError(ValueError)        a store or shard that is not ours, cut short, corrupt, or made with other settings

Only `workers/ledger.py` (and the planner's probe, its twin before any work) catches InputError and turns it into data.
Every error is built from one message, so every error pickles and crosses Ray unchanged.
"""

import errno

# What an operating system says when a machine, a disk or a network fails at a file that is there and may be read.
_MACHINES_ERRNO = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNABORTED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINTR,
        errno.EIO,
        errno.EMFILE,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENOTCONN,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
_CV2_NO_MEMORY = -4
_NO_MEMORY = (
    "can't allocate memory",
    "out of memory",
    "STATUS_ALLOC_FAILED",
    "std::bad_alloc",
    "Resource temporarily unavailable",
)


class ViduError(Exception):
    """Root of the tree; `exit_code` is what the command line ends with when the error reaches it."""

    exit_code = 1


class ConfigError(ViduError, ValueError):
    """The user asked for something that can not be: the message names it and the legal values."""

    exit_code = 2


class ResourceError(ViduError, RuntimeError):
    """The machine lacks something: the message names it and says how to get it."""


class MachineError(ResourceError):
    """The machine failed at what it should be able to do: the message names the file; trying again may help."""


class BusyError(ResourceError):
    """Another process holds what this one would write; the message names both."""


class InputError(ViduError, ValueError):
    """One video is bad. The message names the file; the run goes on without it."""

    exit_code = 3


class VideoOpenError(InputError):
    """The file is missing, is not a video, or no decoder knows its codec."""


class VideoDecodeError(InputError):
    """The file opens, but decoding fails or ends before the frames it holds."""


class VideoTooLargeError(InputError):
    """The file's pictures, scaled as asked, are so large that a few of them fill the memory of a machine."""


class VideoCrashError(InputError):
    """Decoding this file ended its process or overtaxed the machine, more than once and with no video beside it."""


class EmptyVideoError(InputError):
    """The file opens and has a video stream, but not one frame comes out."""


class StoreError(ViduError, ValueError):
    """A store, plan, report or shard is not what it should be: the message names the file and the way out."""


def is_machines(error: BaseException | None) -> bool:
    """Tell whether an error is the machine's fault, neither a video's nor the program's: it is worth another try.

    Libraries say in their own ways that memory ran out: torch by an error of that name on a GPU, by a RuntimeError on a
    CPU and where a GPU's own libraries ask for memory, OpenVINO in the words of C++, OpenCV by a number. They are known
    by name here, so that nothing heavy is imported.
    """
    if isinstance(error, OSError):
        return error.errno in _MACHINES_ERRNO
    return (
        isinstance(error, MachineError | MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (
            isinstance(error, RuntimeError)
            and not isinstance(error, ViduError)
            and any(words in str(error) for words in _NO_MEMORY)
        )
        or (type(error).__module__ == "cv2" and getattr(error, "code", 0) == _CV2_NO_MEMORY)
    )
