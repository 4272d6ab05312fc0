"""Memory of batches, kept from step to step."""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
_BLOCK_BYTES = 256 << 20  # the largest batch
_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> None:
    """Let the C library keep what a step frees, up to 1 GiB, instead of handing it back to the kernel.

    A training step frees tens of megabytes and asks for the same again; a store is read in chunks of one. glibc hands
    large blocks back, and the kernel zeroes them anew, page by page: a third of an LSTM's epoch. Does nothing with
    another C library.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
