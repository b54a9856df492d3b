"""Power, energy and accounting: what they must be, as exact fractions, and what the driver says."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import pynvml as nv

import raw
from model import FOREVER, rounded
from raw import code

NOT_AVAILABLE = 2**64 - 1
EPOCH_US = 1_700_000_000 * 10**6


# What must be.


@cache
def curve(scenario, gpu: int) -> list:
    """(from, milliwatts) in the order of time."""
    what = scenario.gpus[gpu]
    idle, busy = what["power"]
    changes: dict = {}
    for context in (c for c in scenario.contexts if c.gpu == gpu):
        for index, (begin, _, load) in enumerate(context.pieces):
            end = context.pieces[index + 1][0] if index + 1 < len(context.pieces) else FOREVER
            begin, end = max(begin, context.begin), min(end, context.end)
            if begin < end:
                share = Fraction(1)
                if what["mig"] is not None:
                    here = [m for m in what["mig"] if m["ids"] == context.ids and m["begin"] <= context.begin < m["end"]]
                    share = Fraction(here[0]["compute"], what["slices"])
                changes[begin] = changes.get(begin, 0) + load["sm"] * share
                changes[end] = changes.get(end, 0) - load["sm"] * share
    points, total = [(-FOREVER, Fraction(idle))], Fraction(0)
    for at in sorted(changes):
        total += changes[at]
        points.append((at, idle + (busy - idle) * min(total, Fraction(100)) / 100))
    return points


def work(scenario, gpu: int, start: int, stop: int) -> Fraction:
    """Milliwatts times microseconds."""
    points = curve(scenario, gpu)
    ends = [at for at, _ in points[1:]] + [FOREVER]
    spans = ((max(0, min(end, stop) - max(at, start)), watts) for (at, watts), end in zip(points, ends))
    return sum((span * watts for span, watts in spans), Fraction(0))


def energy(scenario, gpu: int, now: int) -> int:
    start = scenario.driver_at(now)["since"] or 0
    return int(work(scenario, gpu, start, now) / 10**6) if now > start else 0


def mean_power(scenario, gpu: int, start: int, stop: int) -> int:
    if start == stop:
        return rounded([watts for at, watts in curve(scenario, gpu) if at <= stop][-1])
    return rounded(work(scenario, gpu, start, stop) / (stop - start))


def initially_on(scenario, gpu: int, now: int):
    """Since when accounting is on if nobody switches it."""
    first = scenario.driver_at(now)["since"] is None
    return -FOREVER if first and scenario.gpus[gpu]["accounting"]["enabled"] else None


def ring(scenario, gpu: int, since: int, now: int) -> dict:
    """The context that is remembered of each pid, the oldest first."""
    recorded = [c for c in scenario.contexts if c.gpu == gpu and c.begin <= now and since < c.end]
    recorded.sort(key=lambda context: context.begin)
    newest: dict = {}
    for context in recorded[-scenario.gpus[gpu]["accounting"]["buffer"] :]:
        newest.pop(context.pid, None)
        newest[context.pid] = context
    return newest


def account(scenario, context, since: int, now: int) -> dict:
    start, over = max(context.begin, since), context.end <= now
    stop = context.end if over else now
    held = [memory for begin, memory, end in pieces(context) if begin < max(stop, start + 1) and start < end]
    known = [memory for memory in held if memory is not None]
    period = scenario.period
    first, last = start // period, now // period
    if over:
        last = min(last, (context.end - 1) // period + 1)
    share = [rounded(context.used(e, start, stop) / (stop - start)) if start < stop else 0 for e in ("sm", "mem")]
    sums = [rounded(100 * context.used(e, start, min(stop, last * period)) / period) for e in ("sm", "mem")]
    return {
        "share": share,
        "memory": max(known) if known else NOT_AVAILABLE,
        "time": (stop - start) // 1000 if over else 0,
        "start": EPOCH_US + start,
        "running": int(not over),
        "samples": max(0, last - first),
        "sums": sums,
    }


def pieces(context):
    """(begin, memory, end) of each."""
    begins = [piece[0] for piece in context.pieces]
    return [(p[0], p[1], end) for p, end in zip(context.pieces, begins[1:] + [FOREVER])]


# What the driver says.


def check_power(tally, scenario, gpu: int, handle, now: int):
    report = scenario.gpus[gpu]["report"]
    refused = nv.NVML_ERROR_NOT_SUPPORTED
    fields = [nv.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION, nv.NVML_FI_DEV_POWER_INSTANT, nv.NVML_FI_DEV_POWER_AVERAGE]
    found = nv.nvmlDeviceGetFieldValues(handle, [*fields, 82, 99_999, (nv.NVML_FI_DEV_POWER_INSTANT, 1)])
    codes = [refused if report != "energy" else 0] + 2 * [refused if report == "none" else 0]
    codes += [refused, nv.NVML_ERROR_INVALID_ARGUMENT, refused]
    tally.same("codes of fields", [value.nvmlReturn for value in found], codes)
    tally.same("stamps of fields", {value.timestamp for value in found}, {EPOCH_US + now})
    if report == "energy":
        wanted = energy(scenario, gpu, now)
        tally.same("energy", nv.nvmlDeviceGetTotalEnergyConsumption(handle), wanted)
        tally.same("energy, field", found[0].value.ullVal, wanted)
    else:
        tally.same("energy", code(nv.nvmlDeviceGetTotalEnergyConsumption, handle), refused)
    if report == "none":
        tally.same("power", code(nv.nvmlDeviceGetPowerUsage, handle), refused)
        return
    end = now // scenario.period * scenario.period
    tally.same("power", nv.nvmlDeviceGetPowerUsage(handle), mean_power(scenario, gpu, end - scenario.period, end))
    wanted = [mean_power(scenario, gpu, now, now), mean_power(scenario, gpu, now - 10**6, now)]
    tally.same("power, fields", [value.value.uiVal for value in found[1:3]], wanted)


def check_accounting(tally, scenario, gpu: int, handle, since, now: int):
    """`since`: when it was switched on, `None` if it is off."""
    what = scenario.gpus[gpu]["accounting"]
    refused = nv.NVML_ERROR_NOT_SUPPORTED
    if not what["supported"]:
        tally.same("accounting mode", code(nv.nvmlDeviceGetAccountingMode, handle), refused)
    else:
        tally.same("accounting mode", nv.nvmlDeviceGetAccountingMode(handle), int(since is not None))
    if since is None:
        functions = (nv.nvmlDeviceGetAccountingStats, nv.nvmlDeviceGetAccountingStats_v2)
        codes = [code(function, handle, 1) for function in functions]
        codes += [code(nv.nvmlDeviceGetAccountingBufferSize, handle), raw.accounted(handle, 4)[0]]
        tally.same("accounting is off", codes, [refused] * 4)
        return
    tally.same("accounting buffer", nv.nvmlDeviceGetAccountingBufferSize(handle), what["buffer"])
    recorded = ring(scenario, gpu, since, now)
    tally.same("accounted pids", sorted(nv.nvmlDeviceGetAccountingPids(handle)), sorted(recorded))
    short = nv.NVML_ERROR_INSUFFICIENT_SIZE if recorded else 0
    tally.same("accounted pids, NULL", raw.accounted(handle, 0), (short, len(recorded)))
    if len(recorded) > 1:
        tally.same("accounted pids, too small", raw.accounted(handle, len(recorded) - 1), (short, len(recorded)))
    for pid, context in recorded.items():
        wanted = account(scenario, context, since, now)
        if wanted["memory"] == NOT_AVAILABLE:
            found = raw.account(handle, pid)[1]
        else:
            found = nv.nvmlDeviceGetAccountingStats(handle, pid)
        share = [found.gpuUtilization, found.memoryUtilization]
        shown = (share, found.maxMemoryUsage, found.time, found.startTime, found.isRunning)
        tally.same(f"account of {pid}", shown, tuple(wanted[key] for key in ("share", "memory", "time", "start", "running")))
        found = nv.nvmlDeviceGetAccountingStats_v2(handle, pid)
        shown = {
            "share": [found.gpuUtilization, found.memoryUtilization],
            "memory": found.maxMemoryUsage,
            "time": found.time,
            "start": found.startTime,
            "running": found.isRunning,
            "samples": found.sampleCount,
            "sums": [found.sumGpuUtil, found.sumFbUtil],
        }
        tally.same(f"account of {pid}, v2", (found.pid, shown), (pid, wanted))
    gone = {c.pid for c in scenario.contexts if c.gpu == gpu and c.pid not in recorded} | {999_999}
    for pid in sorted(gone)[-5:]:
        tally.same("no account", code(nv.nvmlDeviceGetAccountingStats, handle, pid), nv.NVML_ERROR_NOT_FOUND)


def check_switch(tally, bench, scenario, text: str):
    """Accounting that is switched on late, and off and on again."""
    # Another text is another node, so that nothing is left over from it.
    bench.load(text + "\n# switched\n", 0)
    on, later, again = 3_333_333, 15_000_000, 16_000_000
    if any(scenario.faulty(moment) or scenario.driver_at(moment)["changes"] for moment in (on, later, again)):
        nv.nvmlShutdown()
        return
    for gpu, what in enumerate(scenario.gpus):
        bench.at(on)
        handle = nv.nvmlDeviceGetHandleByIndex(gpu)
        possible = what["accounting"]["supported"] and what["mig"] is None
        wanted = 0 if possible else nv.NVML_ERROR_NOT_SUPPORTED
        tally.same("switched on", code(nv.nvmlDeviceSetAccountingMode, handle, 1), wanted)
        if not possible or len(scenario.contexts) > 1000:
            continue
        first = initially_on(scenario, gpu, on)
        check_accounting(tally, scenario, gpu, handle, on if first is None else first, on)
        bench.at(later)
        check_accounting(tally, scenario, gpu, handle, on if first is None else first, later)
        tally.same("switched off", code(nv.nvmlDeviceSetAccountingMode, handle, 0), 0)
        check_accounting(tally, scenario, gpu, handle, None, later)
        tally.same("switched on again", code(nv.nvmlDeviceSetAccountingMode, handle, 1), 0)
        bench.at(again)
        check_accounting(tally, scenario, gpu, handle, later, again)
    bench.at(0)
    nv.nvmlShutdown()
