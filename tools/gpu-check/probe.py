#!/usr/bin/env python3
"""What the driver answers, asked through NVML with ctypes alone: independent of the program that is checked.

    probe.py [--device N] [--seconds S] [--library PATH]    all answers as JSON

Exit 2: there is no GPU.
Only functions that read are called. No setting of the card is changed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from ctypes import (CDLL, POINTER, Structure, byref, c_char, c_double, c_int, c_uint, c_ulonglong, c_void_p,
                    create_string_buffer, sizeof)
from statistics import median

sys.dont_write_bytecode = True

import ptx

NOT_AVAILABLE = 2**64 - 1
CODES = {0: "SUCCESS", 1: "UNINITIALIZED", 2: "INVALID_ARGUMENT", 3: "NOT_SUPPORTED", 4: "NO_PERMISSION",
         6: "NOT_FOUND", 7: "INSUFFICIENT_SIZE", 9: "DRIVER_NOT_LOADED", 10: "TIMEOUT", 12: "LIBRARY_NOT_FOUND",
         13: "FUNCTION_NOT_FOUND", 15: "GPU_IS_LOST", 18: "LIB_RM_VERSION_MISMATCH", 20: "MEMORY", 21: "NO_DATA",
         25: "ARGUMENT_VERSION_MISMATCH", 26: "DEPRECATED", 27: "NOT_READY", 28: "GPU_NOT_FOUND", 999: "UNKNOWN"}
ABSENT = "no such function"
LISTS = ("Compute", "Graphics", "MPSCompute")


class NoGpu(Exception):
    """There is no GPU that NVML can show; the text says why."""


class Memory1(Structure):
    _fields_ = [(name, c_ulonglong) for name in ("total", "free", "used")]


class Memory2(Structure):
    _fields_ = [("version", c_uint)] + [(name, c_ulonglong) for name in ("total", "reserved", "free", "used")]


class Process1(Structure):
    _fields_ = [("pid", c_uint), ("memory", c_ulonglong)]


class Process2(Structure):
    _fields_ = Process1._fields_ + [("gpu_instance", c_uint), ("compute_instance", c_uint)]


class Use(Structure):
    _fields_ = [("pid", c_uint), ("time", c_ulonglong)] + [(name, c_uint) for name in ("sm", "mem", "enc", "dec")]


class UseInfo(Structure):
    _fields_ = [("time", c_ulonglong)] + [(n, c_uint) for n in ("pid", "sm", "mem", "enc", "dec", "jpg", "ofa")]


class UsesInfo(Structure):
    _fields_ = [("version", c_uint), ("count", c_uint), ("since", c_ulonglong), ("entries", POINTER(UseInfo))]


class Rates(Structure):
    _fields_ = [("gpu", c_uint), ("memory", c_uint)]


class GpmSupport(Structure):
    _fields_ = [("version", c_uint), ("supported", c_uint)]


class GpmMetric(Structure):
    _fields_ = [("id", c_uint), ("code", c_int), ("value", c_double), ("names", c_void_p * 3)]


class GpmGet(Structure):
    # Headers differ in the array's length under one version: room for the longest.
    _fields_ = [("version", c_uint), ("count", c_uint), ("sample1", c_void_p), ("sample2", c_void_p),
                ("metrics", GpmMetric * 512)]


class Pci(Structure):
    _fields_ = [("legacy", c_char * 16)] + [(n, c_uint) for n in ("domain", "bus", "device", "id", "sub")] + [
        ("bus_id", c_char * 32)]


def versioned(structure, number: int):
    """A structure whose first field says its size and version, as NVML wants it."""
    return structure(version=sizeof(structure) | number << 24)


class Nvml:
    """The library, initialised."""

    def __init__(self, library=None):
        try:
            self.lib = CDLL(library) if library else ptx.load_library("libnvidia-ml.so.1")
        except (OSError, ptx.Unusable) as error:
            raise NoGpu(f"NVIDIA's library is not there: {error}") from error
        code = self.call("nvmlInit_v2")
        if code != "SUCCESS":
            raise NoGpu(f"nvmlInit_v2: {code}")

    def call(self, function: str, *arguments) -> str:
        """The name of the code that a function returned."""
        found = getattr(self.lib, function, None)
        if found is None:
            return ABSENT
        result = found(*arguments)
        return CODES.get(result, str(result))

    def count(self) -> int:
        count = c_uint()
        code = self.call("nvmlDeviceGetCount_v2", byref(count))
        if code != "SUCCESS" or count.value == 0:
            raise NoGpu(f"nvmlDeviceGetCount_v2: {code}, {count.value} GPUs")
        return count.value

    def handle(self, index: int):
        handle = c_void_p()
        code = self.call("nvmlDeviceGetHandleByIndex_v2", c_uint(index), byref(handle))
        if code != "SUCCESS":
            raise NoGpu(f"GPU {index}: {code}")
        return handle

    def first_instance(self, handle):
        """UUID of the first MIG instance of this GPU, if there is one."""
        for index in range(8):
            instance = c_void_p()
            code = self.call("nvmlDeviceGetMigDeviceHandleByIndex", handle, c_uint(index), byref(instance))
            if code == "SUCCESS":
                return self.text("nvmlDeviceGetUUID", instance)
        return None

    def text(self, function: str, *before):
        buffer = create_string_buffer(96)
        code = self.call(function, *before, buffer, c_uint(96))
        return buffer.value.decode(errors="replace") if code == "SUCCESS" else None

    def number(self, function: str, handle, kind=c_uint):
        value = kind()
        code = self.call(function, handle, byref(value))
        return {"code": code, "value": value.value if code == "SUCCESS" else None}

    def processes(self, handle, name: str, version: str = "_v3", structure=Process2, room: int = 4096):
        """(code, {pid: bytes or None}) of one list."""
        count, buffer = c_uint(room), (structure * room)()
        code = self.call(f"nvmlDeviceGet{name}RunningProcesses{version}", handle, byref(count), buffer)
        listed = buffer[: count.value] if code == "SUCCESS" else []
        return code, {e.pid: None if e.memory == NOT_AVAILABLE else e.memory for e in listed}

    def on_device(self, handle):
        """{pid: bytes or None} of all lists, newest version of each."""
        found = {}
        for name in LISTS:
            code, listed = self.processes(handle, name)
            if code == ABSENT:
                code, listed = self.processes(handle, name, "_v2")
            for pid, size in listed.items():
                found[pid] = max(found.get(pid) or 0, size) if size is not None else found.get(pid)
        return found

    def uses(self, handle, since_us: int, room: int = 65536):
        """(code, entries) of nvmlDeviceGetProcessUtilization, in the driver's order."""
        count, buffer = c_uint(room), (Use * room)()
        code = self.call("nvmlDeviceGetProcessUtilization", handle, buffer, byref(count), c_ulonglong(since_us))
        listed = buffer[: count.value] if code == "SUCCESS" else []
        return code, [{name: getattr(e, name) for name, _ in Use._fields_} for e in listed]

    def uses_room(self, handle, since_us: int):
        """What a call without a buffer answers: its code and the count it asks for."""
        count = c_uint(0)
        code = self.call("nvmlDeviceGetProcessUtilization", handle, None, byref(count), c_ulonglong(since_us))
        return {"code": code, "count": count.value}

    def uses_info(self, handle, since_us: int, room: int = 4096):
        """The same of its successor: code, count, and the pids."""
        entries = (UseInfo * room)()
        info = versioned(UsesInfo, 1)
        info.count, info.since, info.entries = room, since_us, entries
        code = self.call("nvmlDeviceGetProcessesUtilizationInfo", handle, byref(info))
        listed = entries[: info.count] if code == "SUCCESS" else []
        return {"code": code, "entries": len(listed), "processes": len({e.pid for e in listed}),
                "sm": [e.sm for e in listed[:16]]}

    def gpm(self, handle, seconds: float):
        """Graphics and SM utilisation (percent) over some time; or the code that stopped it."""
        samples = [c_void_p(), c_void_p()]
        for sample in samples:
            code = self.call("nvmlGpmSampleAlloc", byref(sample))
            if code != "SUCCESS":
                return {"code": f"nvmlGpmSampleAlloc: {code}"}
        get = GpmGet(version=1, count=2, sample1=samples[0], sample2=samples[1])
        get.metrics[0].id, get.metrics[1].id = 1, 2
        code = self.call("nvmlGpmSampleGet", handle, samples[0])
        if code == "SUCCESS":
            time.sleep(seconds)
            code = self.call("nvmlGpmSampleGet", handle, samples[1])
        if code == "SUCCESS":
            code = self.call("nvmlGpmMetricsGet", byref(get))
        for sample in samples:
            self.call("nvmlGpmSampleFree", sample)
        values = [m.value if m.code == 0 else None for m in get.metrics[:2]] if code == "SUCCESS" else [None, None]
        return {"code": code, "graphics_percent": values[0], "sm_percent": values[1], "seconds": seconds}


def facts(nvml: Nvml, index: int) -> dict:
    """What the card and its driver are, and what they can do. Nothing here depends on a load."""
    handle, pci = nvml.handle(index), Pci()
    major, minor, current, pending, cuda = c_int(), c_int(), c_uint(), c_uint(), c_int()
    mig = nvml.call("nvmlDeviceGetMigMode", handle, byref(current), byref(pending))
    capability = nvml.call("nvmlDeviceGetCudaComputeCapability", handle, byref(major), byref(minor))
    one, two, rates, support = Memory1(), versioned(Memory2, 2), Rates(), GpmSupport(version=1)
    memory1 = nvml.call("nvmlDeviceGetMemoryInfo", handle, byref(one))
    memory2 = nvml.call("nvmlDeviceGetMemoryInfo_v2", handle, byref(two))
    gpm = nvml.call("nvmlGpmQueryDeviceSupport", handle, byref(support))
    nvml.call("nvmlSystemGetCudaDriverVersion_v2", byref(cuda))
    lists = {}
    for name in LISTS:
        for version, structure in (("_v3", Process2), ("_v2", Process2), ("", Process1)):
            code, listed = nvml.processes(handle, name, version, structure)
            empty = c_uint(0)
            bare = nvml.call(f"nvmlDeviceGet{name}RunningProcesses{version}", handle, byref(empty), None)
            lists[name + version] = {"code": code, "count": len(listed), "without_buffer": bare}
    found_pci = nvml.call("nvmlDeviceGetPciInfo_v3", handle, byref(pci)) == "SUCCESS"
    return {
        "driver": nvml.text("nvmlSystemGetDriverVersion"),
        "nvml": nvml.text("nvmlSystemGetNVMLVersion"),
        "cuda": f"{cuda.value // 1000}.{cuda.value % 1000 // 10}",
        "card": nvml.text("nvmlDeviceGetName", handle),
        "uuid": nvml.text("nvmlDeviceGetUUID", handle),
        "pci_bus_id": pci.bus_id.decode() if found_pci else None,
        "compute_capability": f"{major.value}.{minor.value}" if capability == "SUCCESS" else None,
        "mig": {"code": mig, "current": current.value, "pending": pending.value},
        "memory_v1": {"code": memory1, "total": one.total, "used": one.used, "free": one.free},
        "memory_v2": {"code": memory2, "total": two.total, "used": two.used, "free": two.free,
                      "reserved": two.reserved},
        "rates": nvml.call("nvmlDeviceGetUtilizationRates", handle, byref(rates)),
        "persistence_mode": nvml.number("nvmlDeviceGetPersistenceMode", handle),
        "accounting_mode": nvml.number("nvmlDeviceGetAccountingMode", handle),
        "accounting_buffer": nvml.number("nvmlDeviceGetAccountingBufferSize", handle),
        "energy_millijoules": nvml.number("nvmlDeviceGetTotalEnergyConsumption", handle, c_ulonglong),
        "gpm": {"code": gpm, "supported": bool(support.supported)},
        "process_lists": lists,
    }


def look(nvml: Nvml, handle, seconds: float, near_us: int = 1_000_000, far_us: int = 8_000_000, step: float = 0.1):
    """Asks for the near and the far past again and again: what `style` needs."""
    looks, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        now = time.time_ns() // 1000
        near, far = nvml.uses(handle, now - near_us), nvml.uses(handle, now - far_us)
        since = {"near": now - near_us, "far": now - far_us}
        looks.append({"time": now, "since": since, "near": near, "far": far})
        time.sleep(step)
    return looks


def style(looks, ended=()) -> dict:
    """How the driver answers: `many` entries for a process; or one, which is its `average` since the stamp that was
    passed or the `last` period; `one` where the load did not tell these two apart; `none` where nobody was active."""
    codes, most, per_answer, gaps, ages, over = {}, 0, [], [], [], 0
    differences, near_values, of_ended, in_order, stale, nobody = [], {}, False, True, 0, 0
    for each in looks:
        newest = {}
        for side in ("near", "far"):
            code, entries = each[side]
            codes[code] = codes.get(code, 0) + 1
            by_pid = {}
            stale += sum(e["time"] <= each["since"][side] for e in entries)
            nobody += sum(e["pid"] == 0 for e in entries)
            over += sum(max(e["sm"], e["mem"], e["enc"], e["dec"]) > 100 for e in entries)
            for e in entries:
                if e["time"] <= each["since"][side] or e["pid"] == 0:
                    continue
                by_pid.setdefault(e["pid"], []).append(e["time"])
                newest[side, e["pid"]] = e["sm"]
                of_ended = of_ended or e["pid"] in ended
            for stamps in by_pid.values():
                in_order = in_order and stamps == sorted(stamps)
                # Two entries with one stamp are one: a process may be told of for two engines.
                stamps = sorted(set(stamps))
                gaps += [b - a for a, b in zip(stamps, stamps[1:])]
                most = max(most, len(stamps))
            per_answer.append(len(entries))
            ages += [each["time"] - stamp for stamps in by_pid.values() for stamp in stamps]
        for (side, pid), value in newest.items():
            if side == "near" and ("far", pid) in newest:
                differences.append(abs(value - newest["far", pid]))
                near_values.setdefault(pid, []).append(value)
    varied = max((max(v) - min(v) for v in near_values.values()), default=0)
    # A period can end between the two questions: a difference now and then tells nothing.
    apart = sum(difference > 10 for difference in differences)
    if most == 0:
        answer = "none"
    elif most > 1:
        answer = "many"
    elif 5 * apart > len(differences):
        answer = "average"
    else:
        answer = "last" if varied > 20 else "one"
    clock = all(-2_000_000 < age < 3_600_000_000 for age in ages) if ages else None
    clock = False if stale and not ages else clock
    usual = [g for g in gaps if g * 2 < min(gaps) * 3] if gaps and min(gaps) > 0 else []
    return {
        "style": answer, "codes": codes, "most_entries_per_process": most,
        "most_entries_per_answer": max(per_answer, default=0),
        "period_us": int(median(usual)) if usual else None,
        "in_time_order": in_order if most > 1 else None,
        "values_over_100": over, "entries_not_newer_than_asked": stale, "entries_of_pid_0": nobody,
        "names_ended_processes": of_ended if ended else None,
        "youngest_age_us": min(ages, default=None), "oldest_age_us": max(ages, default=None),
        # A stamp of another clock (since boot, or in another unit) is far from the wall clock.
        "unix_microseconds": clock,
    }


def shares(answer, begin_us: float, end_us: float, period_us):
    """{pid: percent of this time} of one answer for it; None where the driver did not answer."""
    code, entries = answer
    if code not in ("SUCCESS", "NOT_FOUND"):
        return None
    by_pid = {}
    for e in entries:
        # One entry stands for all of the time; its stamp can be that of our question, a little later.
        if begin_us < e["time"] and (period_us is None or e["time"] <= end_us) and e["sm"] <= 100:
            by_pid.setdefault(e["pid"], []).append(e["sm"])
    if period_us is None:
        return {pid: float(values[-1]) for pid, values in by_pid.items()}
    return {pid: min(100.0, sum(values) * period_us / (end_us - begin_us)) for pid, values in by_pid.items()}


def ring(nvml: Nvml, handle, ended=()) -> dict:
    """What stamp 0 gives: how many entries, how far back, and whether processes that ended are among them."""
    now = time.time_ns() // 1000
    code, entries = nvml.uses(handle, 0)
    stamps = sorted(e["time"] for e in entries)
    pids = [e["pid"] for e in entries]
    return {
        "code": code, "entries": len(entries), "processes": len(set(pids)),
        "most_entries_per_process": max((pids.count(pid) for pid in set(pids)), default=0),
        "reaches_back_us": now - stamps[0] if stamps else None,
        "ended_processes_named": len(set(pids) & set(ended)), "ended_processes_asked_for": len(ended),
        "without_buffer": nvml.uses_room(handle, 0),
        "ahead_of_now": nvml.uses(handle, now + 3_600_000_000)[0],
        "successor": nvml.uses_info(handle, 0),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", help="NVIDIA's library [default: libnvidia-ml.so.1]")
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    try:
        nvml = Nvml(args.library)
        nvml.count()
        handle = nvml.handle(args.device)
        answers = {"facts": facts(nvml, args.device), "at_zero": ring(nvml, handle),
                   "gpm": nvml.gpm(handle, min(1.0, args.seconds)), "style": style(look(nvml, handle, args.seconds))}
        print(json.dumps(answers, indent=1))
    except NoGpu as problem:
        print(f"no GPU: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
