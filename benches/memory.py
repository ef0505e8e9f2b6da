"""How much memory this process has, in MB."""

import resource
import sys


def resident_mb() -> float:
    """Now."""
    return status("VmRSS") if sys.platform == "linux" else peak_mb()


def peak_mb() -> float:
    """At most, since the program started. (On Linux `ru_maxrss` would begin with the parent's.)"""
    if sys.platform == "linux":
        return status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def status(name: str) -> float:
    with open("/proc/self/status") as lines:
        kib = next(line.split()[1] for line in lines if line.startswith(name + ":"))
    return int(kib) * 1024 / 1e6
