"""Python runs this at start-up of every process that has this folder on PYTHONPATH: chosen videos become poison.

Ray's workers, the processes that probe and the command line are other processes, where a test can patch nothing. By
environment variables, each a comma-separated list of file names (without folder):

    POISON_DECODE        decoding such a file kills the process, as a decoder's memory fault would
    POISON_DECODE_ONCE   the same, but only the first time; POISON_FOLDER remembers it
    POISON_MEMORY_ONCE   decoding such a file finds no memory, the first time; POISON_FOLDER remembers it
    POISON_PROBE         probing such a file kills the process
    POISON_SLOW_S        seconds that every window of frames takes longer
    POISON_SLOW_PROBE_S  seconds that probing a file takes longer
"""

import functools
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path


def listed(variable, path):
    return Path(path).name in os.environ.get(variable, "").split(",")


def first_time(path):
    try:
        Path(os.environ["POISON_FOLDER"], Path(path).name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def poisoned_decode(decode):
    @functools.wraps(decode)
    def wrapper(path, **options):
        if listed("POISON_DECODE", path) or (listed("POISON_DECODE_ONCE", path) and first_time(path)):
            os.kill(os.getpid(), signal.SIGKILL)
        if listed("POISON_MEMORY_ONCE", path) and first_time(path):
            raise MemoryError
        for window in decode(path, **options):
            time.sleep(float(os.environ.get("POISON_SLOW_S", "0")))
            yield window

    return wrapper


def poisoned_probe(probe):
    @functools.wraps(probe)
    def wrapper(path):
        if listed("POISON_PROBE", path):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(float(os.environ.get("POISON_SLOW_PROBE_S", "0")))
        return probe(path)

    return wrapper


POISON = {"workers.decode": {"decode": poisoned_decode, "probe": poisoned_probe}}


class Finder:
    """Finds the modules of POISON as everyone does, and poisons them right after they are executed."""

    def find_spec(self, name, path=None, target=None):
        if name not in POISON:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            for function, poisoned in POISON[name].items():
                setattr(module, function, poisoned(getattr(module, function)))

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
