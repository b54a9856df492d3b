#!/usr/bin/env python3
"""A known load on the first visible GPU, that measures itself and says so in JSON lines.

    loads.py --busy 100 --memory 268435456 --seconds 60

Lines: `ready` once the context is there and the memory taken; `busy` for every kernel that ended, with the time it took
by the card's own events, and its place on the wall clock (Unix microseconds); `done` at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque

sys.dont_write_bytecode = True

import ptx

# How a load is started.
PROGRAM = [sys.executable, os.path.abspath(__file__)]
# Milliseconds of one kernel when the load is steady: short enough for a card that drives a display.
KERNEL_MS = 50.0
# How many kernels are queued then, so that the card never waits for us.
DEPTH = 3


def now_us() -> int:
    return time.time_ns() // 1000


class Pace:
    """Cycles for a kernel of a wanted length, learnt from those before: a card's clock is not known and changes."""

    def __init__(self, cycles_per_ms: float = 1.0e6):
        self.cycles_per_ms = cycles_per_ms

    def cycles(self, milliseconds: float) -> int:
        return max(1000, int(self.cycles_per_ms * milliseconds))

    def learn(self, cycles: int, took_ms: float):
        # Another process on the card makes a kernel look longer, so one measurement moves it by half at most.
        if took_ms > 0:
            factor = min(1.5, max(0.67, cycles / took_ms / self.cycles_per_ms))
            self.cycles_per_ms = min(1e7, max(1e5, self.cycles_per_ms * factor))


class Load:
    """One process's work on the card."""

    def __init__(self, engine, blocks: int, out=sys.stdout):
        self.engine, self.out, self.stopped = engine, out, False
        self.blocks = blocks or engine.multiprocessors()
        self.pace, self.parent = Pace(), os.getppid()
        self.busy_us, self.kernels, self.allocated = 0.0, 0, 0

    def say(self, event: str, **values):
        line = {"event": event, "pid": os.getpid(), "time_us": now_us(), **values}
        print(json.dumps(line), file=self.out, flush=True)

    def stop(self, *_):
        self.stopped = True

    def over(self, until: float) -> bool:
        """Whether the load ends: at its time, when told to, or when nobody is left who wants it."""
        return self.stopped or time.monotonic() >= until or os.getppid() != self.parent

    def take(self, size: int):
        if size:
            self.engine.allocate(size)
            self.allocated += size

    def ready(self):
        self.say("ready", engine=self.engine.name, allocated_bytes=self.allocated, blocks=self.blocks)

    def launch(self, milliseconds: float):
        cycles = self.pace.cycles(milliseconds)
        return cycles, self.engine.launch(cycles, self.blocks)

    def finish(self, launched):
        cycles, events = launched
        took_ms = self.engine.finish(events)
        self.pace.learn(cycles, took_ms)
        end = now_us()
        self.busy_us += took_ms * 1000
        self.kernels += 1
        self.say("busy", from_us=int(end - took_ms * 1000), to_us=end, turns=self.engine.turns_done())

    def hold(self, until: float):
        """No kernel at all."""
        while not self.over(until):
            time.sleep(0.05)

    def steady(self, until: float):
        """The card always has a kernel of ours."""
        queue = deque()
        while not self.over(until):
            while len(queue) < DEPTH:
                queue.append(self.launch(KERNEL_MS))
            self.finish(queue.popleft())
        while queue:
            self.finish(queue.popleft())

    def duty(self, until: float, share: float, period: float):
        """A kernel at the beginning of every period, as long as the share of it."""
        begin = time.monotonic()
        while not self.over(until):
            self.finish(self.launch(period * share * 1000))
            turn = int((time.monotonic() - begin) / period) + 1
            time.sleep(max(0.0, begin + turn * period - time.monotonic()))

    def run(self, percent: float, period: float, until: float):
        if percent <= 0:
            self.hold(until)
        elif percent >= 100:
            self.steady(until)
        else:
            self.duty(until, percent / 100, period)

    def done(self):
        self.say("done", busy_us=int(self.busy_us), kernels=self.kernels, turns=self.engine.turns_done())


class Running:
    """A load that another process started, and what it has said."""

    def __init__(self, arguments, environment):
        self.process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=environment, universal_newlines=True)
        self.pid, self.start, self.end, self.kernels, self.problem = self.process.pid, None, None, [], None
        self.told = threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for text in self.process.stdout:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if line["event"] == "busy":
                self.kernels.append(line)
            elif line["event"] == "ready":
                self.start = line
                self.told.set()
            elif line["event"] == "done":
                self.end = line
            elif line["event"] == "failed":
                self.problem = line["problem"]
        self.told.set()

    def wait_ready(self, seconds: float) -> bool:
        """Whether it is ready; if not, it is ended, and `problem` says why."""
        self.told.wait(seconds)
        if self.start is None:
            self.stop()
            self.problem = self.problem or self.process.stderr.read()[-500:] or "it did not get ready"
        return self.start is not None

    def wait_end(self, seconds: float):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.problem = "it did not end"
        self.reader.join(5)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.reader.join(5)

    def busy_us(self, begin: float, end: float) -> float:
        """Microseconds within this time (Unix microseconds) in which its kernels ran."""
        return sum(max(0.0, min(end, k["to_us"]) - max(begin, k["from_us"])) for k in list(self.kernels))

    def turns_per_second(self, begin: float, end: float):
        """Turns of its kernel's loop in a second of this time; None where they are not counted."""
        within = [k for k in list(self.kernels) if begin <= k["to_us"] <= end and k["turns"] is not None]
        if len(within) < 2 or within[-1]["to_us"] == within[0]["to_us"]:
            return None
        return (within[-1]["turns"] - within[0]["turns"]) * 1e6 / (within[-1]["to_us"] - within[0]["to_us"])


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("auto", *ptx.ORDER), default="auto")
    parser.add_argument("--busy", type=float, default=0, metavar="PERCENT", help="share of the time with a kernel")
    parser.add_argument("--period", type=float, default=0.2, metavar="S", help="of a share between 0 and 100")
    parser.add_argument("--blocks", type=int, default=0, help="blocks of a kernel; 0: one for each multiprocessor")
    parser.add_argument("--memory", type=int, default=0, metavar="BYTES")
    parser.add_argument("--seconds", type=float, default=60, help="it ends so long after it is ready")
    parser.add_argument("--delay", type=float, default=0, metavar="S", help="idle for so long first")
    return parser.parse_args(arguments)


def main() -> int:
    args = parse()
    try:
        load = Load(ptx.open_engine(args.engine), args.blocks)
        signal.signal(signal.SIGTERM, load.stop)
        signal.signal(signal.SIGINT, load.stop)
        load.take(args.memory)
        load.ready()
        until = time.monotonic() + args.seconds
        if args.delay:
            load.hold(min(until, time.monotonic() + args.delay))
        load.run(args.busy, args.period, until)
        load.done()
    except ptx.Unusable as problem:
        print(json.dumps({"event": "failed", "problem": str(problem)}), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
