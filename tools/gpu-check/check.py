#!/usr/bin/env python3
"""Holds gpu-session-monitor against a real card: known loads, and what each of three says of them.

    check.py --program target/release/gpu-session-monitor --out DIR

Starts loads on one GPU, runs the collector over each, and compares with what the loads measured of themselves and with
nvidia-smi. Asks the driver how it answers, records a capture, and writes a report. Changes no setting of the card.
Exit 0: all within the tolerances. 1: not. 2: there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True

import loads
import probe
import ptx
import report
from readers import Collector, Smi
from report import MIB, TOLERANCE

ROOT = Path(__file__).resolve().parents[2]
IDLE, MEMORY, STEADY, NARROW = "idle context", "memory only", "steady", "steady, one block"
HALF, TWO, JOBS = "half", "two at once", "short jobs"
SMALL = ["--memory", str(256 * MIB)]
FULL = ["--busy", "100", *SMALL]
# Loads that run while the collector looks: a list for each process.
STAGES = {
    IDLE: [SMALL],
    MEMORY: [["--memory", str(2048 * MIB)]],
    STEADY: [FULL],
    NARROW: [[*FULL, "--blocks", "1"]],
    HALF: [["--busy", "50", "--period", "0.2", *SMALL]],
    TWO: [FULL, FULL],
}


class Problem(Exception):
    """The check cannot go on; the text says why."""


class Check:
    """The whole check, on one GPU."""

    def __init__(self, nvml, index, args, out: Path, folder: Path):
        self.nvml, self.args, self.out, self.folder = nvml, args, out, folder
        self.handle, self.facts, self.table = nvml.handle(index), probe.facts(nvml, index), report.Table()
        self.mig = self.facts["mig"]["code"] == "SUCCESS" and self.facts["mig"]["current"] == 1
        # In MIG mode a load needs an instance: the first one.
        self.device = (nvml.first_instance(self.handle) if self.mig else None) or self.facts["uuid"]
        self.smi, self.answers, self.problems = Smi(self.facts["uuid"]), {"gpm": {}, "looks": {}}, []
        self.ended, self.engines, self.others = set(), set(), len(nvml.on_device(self.handle))
        self.alone, self.held, self.collectors = None, {}, 0

    @property
    def style(self):
        return self.answers.get("style", {}).get("style")

    def collector(self) -> Collector:
        self.collectors += 1
        return Collector(self.args.program, self.args.library, self.device, self.folder / str(self.collectors))

    def start(self, arguments, seconds: float):
        """A load that is ready, with the pid by which the driver lists it."""
        before = set(self.nvml.on_device(self.handle))
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": self.device}
        load = loads.Running(["--engine", self.args.engine, "--seconds", str(seconds), *arguments], environment)
        if not load.wait_ready(self.args.patience):
            raise Problem(f"a load could not be started: {load.problem}")
        self.engines.add(load.start["engine"])
        listed = set(self.nvml.on_device(self.handle))
        # In a container the driver's pids can be those of the host: the only newcomer is ours.
        new = listed - before
        self.answers["same_pids"] = load.pid in listed and self.answers.get("same_pids", True)
        if load.pid not in listed and len(new) == 1:
            load.pid = new.pop()
        return load

    def stop(self, running):
        for load in running:
            load.stop()
            self.ended.add(load.pid)

    def first(self):
        """With nobody on the card: what is said of no one."""
        now = time.time_ns() // 1000
        if self.others == 0:
            self.answers["nobody_active"] = {
                "at_zero": self.nvml.uses(self.handle, 0)[0],
                "a_second_ago": self.nvml.uses(self.handle, now - 1_000_000)[0],
                "without_buffer": self.nvml.uses_room(self.handle, 0)["code"],
            }

    def step(self):
        """A load that begins to work while we look tells an average from a last period."""
        load = self.start([*FULL, "--delay", str(self.args.seconds)], 4 * self.args.seconds)
        try:
            self.answers["load_listed"] = {
                version or "(none)": load.pid in self.nvml.processes(self.handle, "Compute", version, structure)[1]
                for version, structure in (("_v3", probe.Process2), ("_v2", probe.Process2), ("", probe.Process1))}
            self.answers["style"] = probe.style(probe.look(self.nvml, self.handle, 2 * self.args.seconds), self.ended)
            self.answers["at_zero"] = probe.ring(self.nvml, self.handle, self.ended)
        finally:
            self.stop([load])

    def stage(self, name, processes):
        """Starts the loads, collects three times, and compares over the time between the last two."""
        wait, running, collector = self.args.seconds, [], self.collector()
        try:
            for arguments in processes:
                running.append(self.start(arguments, 20 * wait + 120))
            time.sleep(self.args.settle)
            collector.collect()
            time.sleep(wait)
            before = collector.collect()
            pmon = self.smi.start_pmon(int(wait))
            time.sleep(wait)
            smi_memory, after = self.smi.memory(), collector.collect()
            percent = self.smi.end_pmon(pmon)
            # Kernels of a moment ago are told when they end.
            time.sleep(0.5)
            self.compare(name, running, before, after, percent, smi_memory)
            if name in (STEADY, NARROW, HALF):
                self.answers["gpm"][name] = self.nvml.gpm(self.handle, 1.0)
            if name in (STEADY, HALF, TWO):
                self.answers["looks"][name] = probe.style(probe.look(self.nvml, self.handle, wait), self.ended)
            if name == TWO:
                collector.record(self.out / "capture.json")
        finally:
            self.problems += [f"{name}: {problem}" for problem in collector.problems]
            self.stop(running)

    def compare(self, name, running, before, after, percent, smi_memory):
        add, begin, end = self.table.add, before["time_us"], after["time_us"]
        # On a MIG instance a run from cron measures its own window, one second.
        begin = max(begin, end - 1e6) if self.mig else begin
        window = max(1.0, end - begin)
        pids = [load.pid for load in running]
        by_smi = sum(pid in smi_memory for pid in pids) if self.smi.program else None
        add(name, "sessions", "", len(pids), by_smi, sum(pid in after["sessions"] for pid in pids), len(pids), 0)
        uses = []
        for load in running:
            seen, earlier = after["sessions"].get(load.pid, {}), before["sessions"].get(load.pid, {})
            smi, allocated, held = smi_memory.get(load.pid), load.start["allocated_bytes"], seen.get("memory")
            self.held[name] = (allocated, smi, held)
            if smi is None:
                add(name, "memory", "MiB", allocated, smi, held, allocated, 0, TOLERANCE["context"])
            else:
                add(name, "memory", "MiB", allocated, smi, held, smi, TOLERANCE["nvidia-smi memory"])
            own = load.busy_us(begin, end) / window * 100
            share = None if seen.get("share") is None else seen["share"] * 100
            uses.append((own, percent.get(load.pid), share, load.turns_per_second(begin, end)))
            if len(running) == 1:
                allowed = self.allowed(name)
                add(name, "busy", "%", own, percent.get(load.pid), share, own, allowed)
                if not self.mig and name not in (IDLE, MEMORY):
                    used = seen["seconds"] - earlier.get("seconds", 0) if "seconds" in seen else None
                    truth = own * window / 1e8
                    add(name, "SM seconds", "s", truth, None, used, truth, allowed * window / 1e8)
        if name == STEADY:
            self.alone = uses[0][3]
        if len(running) > 1:
            self.compare_together(name, uses)

    def allowed(self, name):
        if name in (IDLE, MEMORY):
            return TOLERANCE["no kernels"]
        if name == HALF:
            return TOLERANCE["half" if self.mig or self.style in ("many", "average") else "half, one period"]
        return TOLERANCE["steady"]

    def compare_together(self, name, uses):
        """A kernel that waits for its turn looks busy to its own events. What a process had of the card is told by
        the turns of its kernel's loop, beside those of a process alone."""
        shares = [share for _, _, share, _ in uses]
        if self.mig:
            told = sum(share is not None for share in shares)
            self.table.add(name, "shares told (MIG: none can be)", "", 0, None, told, 0, 0)
            return
        total = lambda values: None if None in values else sum(values)
        own = [turns / self.alone * 100 if turns is not None and self.alone else None for *_, turns in uses]
        for k, (_, smi, share, _) in enumerate(uses):
            self.table.add(name, f"busy, process {k + 1}", "%", own[k], smi, share, None, 0)
        smi = total([smi for _, smi, _, _ in uses])
        self.table.add(name, "busy, sum", "%", total(own), smi, total(shares), 100.0, TOLERANCE["two at once"])

    def short_jobs(self):
        """Jobs one after another. What each used must be in the sums, whether or not it was there at a reading."""
        collector, busy = self.collector(), 0.0
        collector.collect()
        before = collector.collect()
        try:
            for job in range(self.args.jobs):
                load = self.start(FULL, 1)
                if job % 2:
                    collector.collect()
                load.wait_end(self.args.patience)
                self.stop([load])
                busy += load.end["busy_us"] / 1e6 if load.end else 0
            # Twice, and later than a sample period: a new counter is written as 0 for one run.
            for _ in range(2):
                time.sleep(self.args.settle)
                after = collector.collect()
        finally:
            self.problems += [f"{JOBS}: {problem}" for problem in collector.problems]
        used = after["user_seconds"] - before["user_seconds"]
        limit = busy * TOLERANCE["short jobs"] / 100
        # Only a driver that gives many entries tells of processes that came and went; the others must not exceed.
        complete = self.style == "many"
        self.table.add(JOBS, "SM seconds of all", "s", busy, None, used, busy, limit if complete else busy, limit)

    def last(self):
        """After all loads: whether the driver still tells of them; and what 2 GiB are, beside 256 MiB."""
        self.answers["ended_at_zero"] = probe.ring(self.nvml, self.handle, self.ended)
        if IDLE in self.held and MEMORY in self.held:
            less = lambda a, b: None if a is None or b is None else a - b
            says, smi, collector = (less(a, b) for a, b in zip(self.held[MEMORY], self.held[IDLE]))
            allowed = TOLERANCE["memory difference"]
            self.table.add(MEMORY, "memory beyond idle context", "MiB", says, smi, collector, says, allowed)

    def as_found(self):
        """No load of ours: whoever is on the card, held against our own reading of the driver."""
        collector, wait = self.collector(), self.args.seconds
        collector.collect()
        time.sleep(wait)
        before = collector.collect()
        pmon = self.smi.start_pmon(int(wait))
        self.answers["style"] = probe.style(probe.look(self.nvml, self.handle, wait))
        smi_memory, after, listed = self.smi.memory(), collector.collect(), self.nvml.on_device(self.handle)
        begin, end = before["time_us"], after["time_us"]
        shares = probe.shares(self.nvml.uses(self.handle, int(begin)), begin, end, self.answers["style"]["period_us"])
        percent = self.smi.end_pmon(pmon)
        for number, pid in enumerate(sorted(listed), 1):
            seen, smi, name = after["sessions"].get(pid, {}), smi_memory.get(pid), f"process {number}, as found"
            self.table.add(name, "memory", "MiB", listed[pid], smi, seen.get("memory"),
                           listed[pid] if smi is None else smi, TOLERANCE["nvidia-smi memory"])
            share = None if seen.get("share") is None else seen["share"] * 100
            own = None if shares is None else shares.get(pid, 0.0)
            self.table.add(name, "busy", "%", own, percent.get(pid), share, own, TOLERANCE["as found"])
        self.answers["at_zero"] = probe.ring(self.nvml, self.handle)
        self.answers["gpm"]["as found"] = self.nvml.gpm(self.handle, 1.0)
        collector.record(self.out / "capture.json")
        self.problems += collector.problems

    def run(self):
        """Everything, in the order in which it can be asked."""
        plan = [("the driver, with nobody active", self.first)]
        if self.args.no_loads:
            plan.append(("processes as found", self.as_found))
        else:
            plan.append(("how the driver answers", self.step))
            plan += [(name, lambda name=name: self.stage(name, STAGES[name])) for name in STAGES]
            plan += [(JOBS, self.short_jobs), ("the driver, after the loads", self.last)]
        for name, part in plan:
            print(f"==> {name}", file=sys.stderr, flush=True)
            try:
                part()
            except Problem as problem:
                self.problems.append(f"{name}: {problem}")
            except Exception as problem:  # a card can answer in any way: what else was measured must be written
                self.problems.append(f"{name}: {type(problem).__name__}: {problem}")

    def result(self) -> dict:
        return {"facts": self.facts, **report.surroundings(), "program": self.collector().version(),
                "others": self.others, "engines": sorted(self.engines), "answers": self.answers,
                "rows": self.table.rows, "problems": self.problems}


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="gpu-session-monitor [default: target/release, then target/debug]")
    parser.add_argument("--out", type=Path, help="folder of the report [default: one for this card and driver in "
                                                 "testdata/captures-pending]")
    parser.add_argument("--device", type=int, help="index of the GPU [default: the first with no process on it]")
    parser.add_argument("--library", default=os.environ.get("GPU_CHECK_NVML_LIBRARY"),
                        help="NVIDIA's library (GPU_CHECK_NVML_LIBRARY) [default: libnvidia-ml.so.1]")
    parser.add_argument("--engine", choices=("auto", *ptx.ORDER), default="auto", help="who runs the loads")
    parser.add_argument("--seconds", type=float, default=8, help="time between two collects")
    parser.add_argument("--settle", type=float, default=2, help="time before the first, longer than a sample period")
    parser.add_argument("--jobs", type=int, default=20, help="number of short jobs")
    parser.add_argument("--patience", type=float, default=90, help="longest wait for a load, seconds")
    parser.add_argument("--no-loads", action="store_true", help="start nothing: hold processes as found against NVML")
    parser.add_argument("--have-gpu", action="store_true", help="only say how many GPUs there are")
    return parser.parse_args(arguments)


def program(given):
    """The program that is checked."""
    built = [ROOT / "target" / kind / "gpu-session-monitor" for kind in ("release", "debug")]
    choices = [Path(given)] if given else built
    found = next((path for path in choices if os.access(path, os.X_OK)), None)
    if found is None:
        raise Problem("gpu-session-monitor is not there: `make build` makes it, or name it with --program")
    return str(found.resolve())


def main(arguments=None, nvml=None) -> int:
    args = parse(arguments)
    try:
        nvml = nvml or probe.Nvml(args.library)
        count = nvml.count()
        if args.have_gpu:
            print(f"==> GPUs: {count}")
            return 0
        free = [n for n in range(count) if not nvml.on_device(nvml.handle(n))]
        index = args.device if args.device is not None else (free or [0])[0]
        args.program = program(args.program)
        out = args.out or ROOT / "testdata" / "captures-pending" / report.slug(probe.facts(nvml, index))
        out = out.resolve()
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
            check = Check(nvml, index, args, out, Path(folder))
            check.run()
            result = check.result()
    except probe.NoGpu as problem:
        print(f"no GPU: {problem}", file=sys.stderr)
        return 2
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    text = report.markdown(result, check.table)
    (out / "gpu-check.md").write_text(text, encoding="utf-8")
    (out / "gpu-check.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(text)
    print(f"==> written: gpu-check.md, gpu-check.json, capture.json in {out}", file=sys.stderr)
    return 1 if check.table.failed() or check.problems else 0


if __name__ == "__main__":
    sys.exit(main())
