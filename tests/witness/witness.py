#!/usr/bin/env python3
"""Compares a simulated driver, read through NVIDIA's own Python client, with what its scenario says.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python witness.py --library-dir target/debug/nvml-sim testdata/scenarios/*.yaml
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from fnmatch import fnmatchcase
from pathlib import Path

# A checkout stays clean.
sys.dont_write_bytecode = True

import yaml

from model import Scenario, micros, rounded

EPOCH = 1_700_000_000
# Contexts in a scenario, above which only a few moments are looked at.
MANY = 1000


class Tally:
    """Counts comparisons and shows the first failures."""

    def __init__(self):
        self.passed, self.failed, self.place = 0, 0, ""

    def same(self, what: str, found, wanted):
        if found == wanted:
            self.passed += 1
            return
        self.failed += 1
        if self.failed <= 20:
            print(f"FAILED {self.place}: {what}\n  driver: {str(found)[:400]}\n  wanted: {str(wanted)[:400]}")


class Bench:
    """A driver with a clock that we move."""

    def __init__(self, folder: Path):
        self.clock, self.file = folder / "clock", folder / "scenario.yaml"
        # How often the driver had changed when the client was initialised, and whether it is.
        self.changes, self.ready = 0, True
        os.environ["NVML_SIM_CLOCK"] = str(self.clock)
        os.environ["NVML_SIM_SCENARIO"] = str(self.file)
        os.environ["NVML_SIM_EPOCH"] = str(EPOCH)

    def at(self, moment: int):
        self.clock.write_text(str(EPOCH * 10**6 + moment))

    def load(self, text: str, moment: int = 0):
        self.file.write_text(text)
        self.at(moment)
        nv.nvmlInit()
        self.changes = Scenario(text).driver_at(moment)["changes"] if "driver_events" in text else 0

    def turn(self, tally: Tally, scenario: Scenario, moment: int) -> bool:
        """Moves the clock; if the driver has changed meanwhile, sees that and initialises again. Whether it is there."""
        self.at(moment)
        state = scenario.driver_at(moment)
        if state["changes"] == self.changes:
            return state["loaded"]
        told = scenario.told(self.changes, moment)
        wanted = getattr(nv, f"NVML_ERROR_{told}") if told else 0
        if self.ready:
            tally.same("a client of before", code(nv.nvmlDeviceGetCount), wanted)
            tally.same("shutdown", code(nv.nvmlShutdown), 0)
        wanted = 0 if state["loaded"] else nv.NVML_ERROR_DRIVER_NOT_LOADED
        tally.same("initialised again", code(nv.nvmlInit), wanted)
        self.changes, self.ready = state["changes"], state["loaded"]
        if self.ready:
            found = (nv.nvmlSystemGetDriverVersion(), nv.nvmlSystemGetNVMLVersion())
            tally.same("versions", found, (state["version"], state["nvml"]))
        return self.ready


def stamp(moment: int) -> int:
    return EPOCH * 10**6 + moment


def handle_of(gpu: int):
    return nv.nvmlDeviceGetHandleByIndex(gpu)


def is_mig(handle) -> int:
    """The client returns its own box here."""
    found = nv.nvmlDeviceIsMigDeviceHandle(handle)
    return getattr(found, "value", found)


# What does not change.


def check_static(tally: Tally, scenario: Scenario):
    tally.same("driver version", nv.nvmlSystemGetDriverVersion(), scenario.driver["version"])
    tally.same("NVML version", nv.nvmlSystemGetNVMLVersion(), scenario.driver["nvml"])
    tally.same("CUDA version", nv.nvmlSystemGetCudaDriverVersion_v2(), scenario.driver["cuda"])
    tally.same("count", nv.nvmlDeviceGetCount(), len(scenario.gpus))
    tally.same("no such GPU", code(handle_of, len(scenario.gpus)), nv.NVML_ERROR_INVALID_ARGUMENT)
    tally.same("no such UUID", code(nv.nvmlDeviceGetHandleByUUID, "GPU-nowhere"), nv.NVML_ERROR_NOT_FOUND)
    tally.same("no such bus", code(nv.nvmlDeviceGetHandleByPciBusId, "ffff:ff:1e.0"), nv.NVML_ERROR_NOT_FOUND)
    for index, gpu in enumerate(scenario.gpus):
        handle = handle_of(index)
        domain, bus, device = gpu["pci"]
        pci = nv.nvmlDeviceGetPciInfo(handle)
        tally.same("pci", (pci.domain, pci.bus, pci.device), gpu["pci"])
        tally.same("bus id", pci.busId, f"{domain:08X}:{bus:02X}:{device:02X}.0")
        tally.same("legacy bus id", pci.busIdLegacy, f"{domain:04X}:{bus:02X}:{device:02X}.0")
        tally.same("name", nv.nvmlDeviceGetName(handle), gpu["model"])
        tally.same("uuid", nv.nvmlDeviceGetUUID(handle), gpu["uuid"])
        tally.same("index", nv.nvmlDeviceGetIndex(handle), index)
        tally.same("minor", nv.nvmlDeviceGetMinorNumber(handle), index)
        for other in (nv.nvmlDeviceGetHandleByUUID(gpu["uuid"]), nv.nvmlDeviceGetHandleByPciBusId(pci.busId)):
            tally.same("the same handle", nv.nvmlDeviceGetUUID(other), gpu["uuid"])
        on = int(gpu["mig"] is not None)
        if gpu["capable"]:
            tally.same("MIG mode", nv.nvmlDeviceGetMigMode(handle), [on, on])
        else:
            tally.same("MIG mode", code(nv.nvmlDeviceGetMigMode, handle), nv.NVML_ERROR_NOT_SUPPORTED)
        tally.same("not MIG", is_mig(handle), 0)
        tally.same("most MIG devices", nv.nvmlDeviceGetMaxMigDeviceCount(handle), gpu["slices"] if on else 0)
        tally.same("GPM", nv.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice, int(gpu["gpm"]))
        tally.same("parent's ids", code(nv.nvmlDeviceGetGpuInstanceId, handle), nv.NVML_ERROR_INVALID_ARGUMENT)
        tally.same("parent's attributes", code(nv.nvmlDeviceGetAttributes_v2, handle), nv.NVML_ERROR_NOT_SUPPORTED)


# What changes.


def lists() -> dict:
    """Every list in its two layouts of 24 bytes."""
    return {
        "compute": [nv.nvmlDeviceGetComputeRunningProcesses_v3, nv.nvmlDeviceGetComputeRunningProcesses_v2],
        "graphics": [nv.nvmlDeviceGetGraphicsRunningProcesses_v3, nv.nvmlDeviceGetGraphicsRunningProcesses_v2],
        "mps": [nv.nvmlDeviceGetMPSComputeRunningProcesses_v3, nv.nvmlDeviceGetMPSComputeRunningProcesses_v2],
    }


def check_lists(tally: Tally, handle, wanted_of, permitted: bool):
    names = {"compute": "Compute", "graphics": "Graphics", "mps": "MPSCompute"}
    for kind, functions in lists().items():
        wanted = wanted_of(kind)
        plain = f"nvmlDeviceGet{names[kind]}RunningProcesses"
        if not permitted:
            for function in functions:
                tally.same(f"{kind}, no permission", code(function, handle), nv.NVML_ERROR_NO_PERMISSION)
            tally.same(f"{kind}, no permission", raw.listed(plain, handle, 4)[0], nv.NVML_ERROR_NO_PERMISSION)
            continue
        for function in functions:
            found = [
                (p.pid, -1 if p.usedGpuMemory is None else p.usedGpuMemory, p.gpuInstanceId, p.computeInstanceId)
                for p in function(handle)
            ]
            tally.same(f"{kind} list", sorted(found), wanted)
        short = [entry[:2] for entry in wanted]
        tally.same(f"{kind} list, 16 bytes", raw.listed(plain, handle, len(wanted)), (0, len(wanted), short))
        if wanted:
            refused = (nv.NVML_ERROR_INSUFFICIENT_SIZE, len(wanted), [])
            tally.same(f"{kind} list, too small", raw.listed(plain, handle, len(wanted) - 1), refused)
            tally.same(f"{kind} list, NULL", raw.listed(plain, handle, None), refused)
        else:
            tally.same(f"{kind} list, NULL", raw.listed(plain, handle, None), (0, 0, []))


def check_memory(tally: Tally, handle, total: int, reserved: int, held: int):
    held = min(held, total - reserved)
    memory = nv.nvmlDeviceGetMemoryInfo(handle)
    tally.same("memory", (memory.total, memory.used, memory.free), (total, held + reserved, total - held - reserved))
    memory = nv.nvmlDeviceGetMemoryInfo(handle, version=nv.nvmlMemory_v2)
    found = (memory.total, memory.reserved, memory.used, memory.free)
    tally.same("memory v2", found, (total, reserved, held, total - held - reserved))
    mismatch = code(nv.nvmlDeviceGetMemoryInfo, handle, 1)
    tally.same("memory v2, wrong version", mismatch, nv.NVML_ERROR_ARGUMENT_VERSION_MISMATCH)


def check_state(tally: Tally, scenario: Scenario, now: int):
    for index, gpu in enumerate(scenario.gpus):
        handle = handle_of(index)
        permitted = gpu["mig"] is None or scenario.monitor
        check_lists(tally, handle, lambda kind: scenario.listed(index, kind, now), permitted)
        check_memory(tally, handle, gpu["memory"], gpu["reserved"], scenario.held(index, now))
        ledger.check_power(tally, scenario, index, handle, now)
        ledger.check_accounting(tally, scenario, index, handle, ledger.initially_on(scenario, index, now), now)
        if gpu["mig"] is None:
            end = now // scenario.period * scenario.period
            wanted = [rounded(scenario.total(index, e, end - scenario.period, end)) for e in ("sm", "mem")]
            rates = nv.nvmlDeviceGetUtilizationRates(handle)
            tally.same("utilisation rates", [rates.gpu, rates.memory], wanted)
            tally.same("MIG device", code(nv.nvmlDeviceGetMigDeviceHandleByIndex, handle, 0), nv.NVML_ERROR_NOT_SUPPORTED)
        else:
            tally.same("rates", code(nv.nvmlDeviceGetUtilizationRates, handle), nv.NVML_ERROR_NOT_SUPPORTED)
            check_mig(tally, scenario, index, now)


def check_mig(tally: Tally, scenario: Scenario, index: int, now: int):
    gpu, parent = scenario.gpus[index], handle_of(index)
    for slot in range(gpu["slices"]):
        here = [m for m in gpu["mig"] if m["index"] == slot and m["begin"] <= now < m["end"]]
        if not here:
            hole = code(nv.nvmlDeviceGetMigDeviceHandleByIndex, parent, slot)
            tally.same(f"MIG {slot} is a hole", hole, nv.NVML_ERROR_NOT_FOUND)
            continue
        mig, handle = here[0], nv.nvmlDeviceGetMigDeviceHandleByIndex(parent, slot)
        ids = (nv.nvmlDeviceGetGpuInstanceId(handle), nv.nvmlDeviceGetComputeInstanceId(handle))
        tally.same("MIG ids", ids, mig["ids"])
        tally.same("MIG uuid", nv.nvmlDeviceGetUUID(handle), mig["uuid"])
        tally.same("MIG name", nv.nvmlDeviceGetName(handle), f"{gpu['model']} MIG {mig['profile']}")
        tally.same("MIG index", nv.nvmlDeviceGetIndex(handle), slot)
        tally.same("is MIG", is_mig(handle), 1)
        up = nv.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        tally.same("MIG parent", nv.nvmlDeviceGetUUID(up), gpu["uuid"])
        by_uuid = nv.nvmlDeviceGetHandleByUUID(mig["uuid"])
        tally.same("MIG by uuid", nv.nvmlDeviceGetIndex(by_uuid), slot)
        has = nv.nvmlDeviceGetAttributes_v2(handle)
        shape = (has.gpuInstanceSliceCount, has.computeInstanceSliceCount, has.memorySizeMB)
        tally.same("MIG attributes", shape, (mig["slices"], mig["compute"], mig["memory"] // 2**20))
        check_lists(tally, handle, lambda kind: scenario.listed(index, kind, now, mig["ids"]), True)
        check_memory(tally, handle, mig["memory"], 0, scenario.held(index, now, mig["ids"][0]))
        refused = code(nv.nvmlDeviceGetProcessUtilization, handle, 0)
        tally.same("MIG process utilisation", refused, nv.NVML_ERROR_NOT_SUPPORTED)
    beyond = code(nv.nvmlDeviceGetMigDeviceHandleByIndex, parent, gpu["slices"])
    tally.same("MIG beyond", beyond, nv.NVML_ERROR_INVALID_ARGUMENT)


def check_samples(tally: Tally, scenario: Scenario, style: str, now: int):
    for index, gpu in enumerate(scenario.gpus):
        handle = handle_of(index)
        if gpu["mig"] is not None or not gpu["process_utilization"]:
            refused = code(nv.nvmlDeviceGetProcessUtilization, handle, 0)
            tally.same("no process utilisation", refused, nv.NVML_ERROR_NOT_SUPPORTED)
            continue
        for seen in (None, now - 10_000_000, now - 1_234_567, now - scenario.period, now, now + 1):
            wanted = [(e[0], stamp(e[1]), *e[2:]) for e in scenario.samples(index, style, seen, now)]
            what = f"{style}, since {seen}"
            last = 0 if seen is None else stamp(seen)
            if not wanted:
                for function in (nv.nvmlDeviceGetProcessUtilization, nv.nvmlDeviceGetProcessesUtilizationInfo):
                    tally.same(what, code(function, handle, last), nv.NVML_ERROR_NOT_FOUND)
                continue
            found = nv.nvmlDeviceGetProcessUtilization(handle, last)
            found = sorted((s.pid, s.timeStamp, s.smUtil, s.memUtil, s.encUtil, s.decUtil) for s in found)
            tally.same(what, found, wanted)
            found = nv.nvmlDeviceGetProcessesUtilizationInfo(handle, last)
            found = sorted((s.pid, s.timeStamp, s.smUtil, s.memUtil, s.encUtil, s.decUtil) for s in found)
            tally.same(f"{what}, versioned", found, wanted)
            refused = raw.samples(handle, len(wanted) - 1, last)
            tally.same(f"{what}, too small", refused, (nv.NVML_ERROR_INSUFFICIENT_SIZE, len(wanted)))


def check_gpm(tally: Tally, bench: Bench, scenario: Scenario, start: int, stop: int):
    for index, gpu in enumerate(scenario.gpus):
        first, second = nv.nvmlGpmSampleAlloc(), nv.nvmlGpmSampleAlloc()
        handle = handle_of(index)
        if not gpu["gpm"]:
            tally.same("GPM", code(nv.nvmlGpmSampleGet, handle, first), nv.NVML_ERROR_NOT_SUPPORTED)
        else:
            lasting = [m for m in gpu["mig"] or [] if m["begin"] <= start and stop < m["end"]]
            for gpu_instance in {None, *(mig["ids"][0] for mig in lasting)}:
                for moment, sample in ((start, first), (stop, second)):
                    bench.at(moment)
                    if gpu_instance is None:
                        nv.nvmlGpmSampleGet(handle, sample)
                    else:
                        nv.nvmlGpmMigSampleGet(handle, gpu_instance, sample)
                wanted = float(scenario.total(index, "sm", start, stop, gpu_instance))
                get = nv.c_nvmlGpmMetricsGet_t()
                get.version, get.numMetrics, get.sample1, get.sample2 = 1, 3, first, second
                for place, metric in enumerate((1, 2, 20)):
                    get.metrics[place].metricId = metric
                nv.nvmlGpmMetricsGet(get)
                near = [abs(get.metrics[place].value - wanted) < 1e-9 for place in (0, 1)]
                tally.same(f"GPM of instance {gpu_instance}", near, [True, True])
                tally.same("another metric", get.metrics[2].nvmlReturn, nv.NVML_ERROR_NOT_SUPPORTED)
                get.sample1 = second
                tally.same("GPM of no time", code(nv.nvmlGpmMetricsGet, get), nv.NVML_ERROR_INVALID_ARGUMENT)
            bench.at(start)
            bad = code(nv.nvmlGpmMigSampleGet, handle, 77, first)
            tally.same("GPM of no instance", bad, nv.NVML_ERROR_INVALID_ARGUMENT)
        for sample in (first, second):
            nv.nvmlGpmSampleFree(sample)


def check_faults(tally: Tally, bench: Bench, scenario: Scenario):
    """Every fault with a code must strike its functions and GPU, and no others."""
    bench.at(0)
    handles = [handle_of(index) for index in range(len(scenario.gpus))]
    calls = [(None, "nvmlSystemGetDriverVersion", nv.nvmlSystemGetDriverVersion, ())]
    for index, handle in enumerate(handles):
        calls.append((index, "nvmlDeviceGetName", nv.nvmlDeviceGetName, (handle,)))
        calls.append((index, "nvmlDeviceGetHandleByIndex_v2", handle_of, (index,)))
        if scenario.monitor or scenario.gpus[index]["mig"] is None:
            function = nv.nvmlDeviceGetComputeRunningProcesses_v3
            calls.append((index, "nvmlDeviceGetComputeRunningProcesses_v3", function, (handle,)))
    for fault in scenario.raw.get("faults", []):
        moment = micros(fault.get("from", 0))
        on = [f for f in scenario.raw["faults"] if micros(f.get("from", 0)) <= moment < micros(f.get("until", "9999h"))]
        bench.at(moment)
        for index, name, call, arguments in calls:
            hits = [f for f in on if fnmatchcase(name, f["function"]) and f.get("gpu") in (None, index)]
            codes = [getattr(nv, f"NVML_ERROR_{f['return']}") for f in hits if "return" in f]
            begin = time.monotonic()
            tally.same(f"fault of {name}", code(call, *arguments), codes[0] if codes else 0)
            delays = [micros(f["delay"]) for f in hits if "delay" in f]
            if delays:
                tally.same("delay", time.monotonic() - begin >= max(delays) / 1e6, True)


def forgetful_moments(scenario: Scenario) -> set:
    """Around the moment at which the driver forgets a period."""
    return {scenario.keep + 4 * scenario.period + shift for shift in (-1, 0, 1)}


def chosen_moments(scenario: Scenario) -> list:
    """At, just before and some time after each change, but not too many."""
    if len(scenario.contexts) > MANY:
        return [0, 2_345_678]
    changes = scenario.moments()
    changes = changes[:: max(1, len(changes) // 25)]
    moments = {m for c in changes for m in (c - 1, c, c + 437_219)} | {61_234_567}
    moments |= forgetful_moments(scenario)
    return [moment for moment in sorted(moments) if not scenario.faulty(moment)]


def witness(tally: Tally, bench: Bench, path: Path):
    text = path.read_text()
    scenario = Scenario(text)
    tally.place = f"{path.name} static"
    bench.load(text)
    check_static(tally, scenario)
    moments = chosen_moments(scenario)
    for now in moments:
        tally.place = f"{path.name} at {now}"
        if bench.turn(tally, scenario, now):
            check_state(tally, scenario, now)
    for now in moments[::4]:
        tally.place = f"{path.name} GPM at {now}"
        later = now + 1_500_000
        there = bench.turn(tally, scenario, now)
        if there and scenario.driver_at(later)["changes"] == bench.changes and not scenario.faulty(later):
            check_gpm(tally, bench, scenario, now, later)
    tally.place = f"{path.name} faults"
    bench.turn(tally, scenario, 0)
    check_faults(tally, bench, scenario)
    bench.at(0)
    nv.nvmlShutdown()
    tally.place = f"{path.name} accounting"
    ledger.check_switch(tally, bench, scenario, text)
    for style in ("ring", "last", "average"):
        changed = {**scenario.raw, "utilization": {**scenario.raw.get("utilization", {}), "style": style}}
        bench.load(yaml.safe_dump(changed))
        # The ring makes many entries: fewer moments where they are many.
        few = {*moments[:: 1 + len(moments) // 40], *(forgetful_moments(scenario) & {*moments})}
        for now in sorted(few):
            tally.place = f"{path.name} {style} at {now}"
            if bench.turn(tally, scenario, now):
                check_samples(tally, scenario, style, now)
        bench.turn(tally, scenario, 0)
        nv.nvmlShutdown()
    tally.same("not initialised", code(nv.nvmlDeviceGetCount), nv.NVML_ERROR_UNINITIALIZED)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library-dir", required=True, help="folder of the simulated libnvidia-ml.so.1")
    parser.add_argument("scenarios", nargs="+", type=Path)
    options = parser.parse_args()
    library = str(Path(options.library_dir).resolve())
    # The loader reads its path at start only.
    if os.environ.get("LD_LIBRARY_PATH", "").split(":")[0] != library:
        os.environ["LD_LIBRARY_PATH"] = library + ":" + os.environ.get("LD_LIBRARY_PATH", "")
        os.execv(sys.executable, [sys.executable, *sys.argv])
    global nv, raw, ledger, code
    import pynvml as nv
    import ledger
    import raw
    from raw import code

    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        tally.same("a bad scenario", code(lambda: bench.load("version: 1\ngpus: nonsense\n")), nv.NVML_ERROR_DRIVER_NOT_LOADED)
        for path in options.scenarios:
            before = tally.passed, tally.failed
            witness(tally, bench, path)
            print(f"{path.name}: {tally.passed - before[0]} passed, {tally.failed - before[1]} failed")
    print(f"{tally.passed} passed, {tally.failed} failed")
    sys.exit(1 if tally.failed else 0)


if __name__ == "__main__":
    main()
