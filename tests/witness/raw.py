"""Calls that NVIDIA's Python client does not make or gets wrong: old layouts, buffers that are too small, odd answers."""

from ctypes import CDLL, Structure, byref, c_uint, c_ulonglong

from pynvml import NVMLError, c_nvmlAccountingStats_t, c_nvmlProcessUtilizationSample_t

library = CDLL("libnvidia-ml.so.1")
NOT_AVAILABLE = 2**64 - 1


class ProcessInfoV1(Structure):
    """The record of the functions without a version, 16 bytes."""

    _fields_ = [("pid", c_uint), ("usedGpuMemory", c_ulonglong)]


def code(call, *arguments) -> int:
    """What a call returns, 0 for success."""
    try:
        call(*arguments)
    except NVMLError as error:
        return error.value
    return 0


def accounted(handle, room: int):
    """(code, count) of the list of pids that are accounted, with a buffer for so many, or none at all."""
    count = c_uint(room)
    buffer = (c_uint * room)() if room else None
    result = library.nvmlDeviceGetAccountingPids(handle, byref(count), buffer)
    return result, count.value


def account(handle, pid: int):
    """(code, what is recorded). The client's own function fails where the memory is not available."""
    stats = c_nvmlAccountingStats_t()
    return library.nvmlDeviceGetAccountingStats(handle, c_uint(pid), byref(stats)), stats


def listed(function: str, handle, room):
    """(code, count, sorted entries) of a list with a buffer for so many, or none at all."""
    count = c_uint(room or 0)
    buffer = None if room is None else (ProcessInfoV1 * max(room, 1))()
    result = getattr(library, function)(handle, byref(count), buffer)
    if result != 0 or buffer is None:
        return result, count.value, []
    entries = buffer[: count.value]
    return result, count.value, sorted((e.pid, -1 if e.usedGpuMemory == NOT_AVAILABLE else e.usedGpuMemory) for e in entries)


def samples(handle, room: int, last: int):
    """(code, count) of a reading of process utilisation with a buffer for so many."""
    count = c_uint(room)
    buffer = (c_nvmlProcessUtilizationSample_t * max(room, 1))()
    function = library.nvmlDeviceGetProcessUtilization
    result = function(handle, buffer, byref(count), c_ulonglong(last))
    return result, count.value
