"""What a simulated driver must answer, computed from the scenario's text alone.

Nothing here is shared with the driver: the YAML is read by PyYAML, and every average is an exact fraction.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

import yaml

import cards

DURATIONS = {"us": 1, "ms": 10**3, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6, "d": 86400 * 10**6}
POWERS = {"mW": 1, "W": 10**3, "kW": 10**6}
SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
ENGINES = ("sm", "mem", "enc", "dec")
FOREVER = 10**17
NO_INSTANCE = (0xFFFFFFFF, 0xFFFFFFFF)


def scaled(value, units: dict, default: str) -> int:
    """A number, or a text with a unit, in the smallest unit."""
    number, unit = re.fullmatch(r"\s*([-+]?[0-9.]+)\s*([A-Za-z]*)\s*", str(value)).groups()
    return int(Fraction(number) * units[unit or default])


def micros(value) -> int:
    return scaled(value, DURATIONS, "s")


def size(value) -> int:
    return scaled(value, SIZES, "B")


def rounded(value: Fraction) -> int:
    """Half up, as for every value that is not negative."""
    return int(value + Fraction(1, 2))


@dataclass
class Context:
    """One process on one device."""

    pid: int
    gpu: int
    ids: tuple
    kinds: list
    begin: int
    end: int
    # (from, memory or None, {engine: Fraction}) in the order of time
    pieces: list = field(default_factory=list)

    def alive(self, at: int) -> bool:
        return self.begin <= at < self.end

    def memory(self, at: int):
        return [piece for piece in self.pieces if piece[0] <= at][-1][1]

    def used(self, engine: str, start: int, stop: int) -> Fraction:
        """Percent times microseconds."""
        total = Fraction(0)
        if stop <= self.begin or self.end <= start:
            return total
        for index, (begin, _, load) in enumerate(self.pieces):
            end = self.pieces[index + 1][0] if index + 1 < len(self.pieces) else FOREVER
            span = min(end, stop, self.end) - max(begin, start, self.begin)
            # Fractions are slow, and most of these are nothing.
            if span > 0 and load[engine]:
                total += load[engine] * span
        return total


class Scenario:
    """A scenario and its answers."""

    def __init__(self, text: str):
        self.raw = yaml.safe_load(text)
        self.driver = cards.driver(self.raw.get("driver", {}))
        self.events = self.raw.get("driver_events", [])
        self.monitor = self.raw.get("mig_monitor", True)
        style = self.raw.get("utilization", {})
        self.style = style.get("style", "ring")
        self.period = micros(style.get("period", "200ms"))
        self.keep = micros(style.get("keep", "120s"))
        self.gpus = [self._gpu(index, gpu) for index, gpu in enumerate(self.raw["gpus"])]
        self.processes = self.raw.get("processes", [])
        self.contexts = [context for process in self.processes for context in self._contexts(process)]

    @staticmethod
    def _gpu(index: int, raw: dict) -> dict:
        raw = cards.card(raw)
        domain, bus, device = Scenario.bus_id(raw.get("pci") or f"{index // 128:x}:{16 + index % 128:x}:0.0")
        gpu = {
            "model": raw["model"],
            "uuid": raw.get("uuid") or f"GPU-5e550000-0000-4000-8000-{index:012x}",
            "pci": (domain, bus, device),
            "memory": size(raw["memory"]),
            "reserved": size(raw["reserved"]),
            "gpm": raw["gpm"],
            "slices": raw["slices"],
            "capable": raw["mig_capable"],
            "process_utilization": raw.get("process_utilization", True),
            "power": [scaled(raw.get("power", {}).get(key, 0), POWERS, "W") for key in ("idle", "busy")],
            "report": raw.get("power", {}).get("report", "none"),
            "accounting": {"supported": True, "enabled": False, "buffer": 4000, **raw.get("accounting", {})},
            "mig": None,
        }
        if raw.get("mig") is not None:
            gpu["mig"] = []
            for position, mig in enumerate(raw["mig"]):
                gpu["mig"].append(Scenario._mig(index, position, mig, gpu["mig"]))
        return gpu

    @staticmethod
    def bus_id(text: str) -> tuple:
        parts = text.split(".")[0].split(":")
        return tuple(int(part, 16) for part in (["0"] + parts)[-3:])

    @staticmethod
    def _mig(gpu: int, position: int, raw: dict, earlier: list) -> dict:
        shape = re.match(r"(?:(\d+)c\.)?(\d+)g\.(\d+)gb", raw["profile"])
        compute, slices, memory = shape.groups() if shape else (None, None, None)
        whole = raw.get("slices") or int(slices)
        mig = {
            "profile": raw["profile"],
            "uuid": raw.get("uuid") or f"MIG-5e550000-{gpu:04x}-4000-8000-{position:012x}",
            "ids": (raw["gpu_instance"], raw["compute_instance"]),
            "memory": size(raw["memory"]) if "memory" in raw else int(memory) * 2**30,
            "slices": whole,
            "compute": raw.get("compute_slices") or (int(compute) if compute and "slices" not in raw else whole),
            "begin": micros(raw["from"]) if "from" in raw else -FOREVER,
            "end": micros(raw["until"]) if "until" in raw else FOREVER,
        }
        clash = [o["index"] for o in earlier if o["begin"] < mig["end"] and mig["begin"] < o["end"]]
        free = next(index for index in range(1000) if index not in clash)
        mig["index"] = raw.get("index", free)
        return mig

    def _contexts(self, process: dict) -> list:
        start = micros(process.get("start", 0))
        end = micros(process["end"]) if "end" in process else FOREVER
        found = []
        for use in process.get("devices", []):
            begin = micros(use["from"]) if "from" in use else start
            stop = min(end, micros(use["until"]) if "until" in use else FOREVER)
            ids = tuple(int(part) for part in use["instance"].split("/")) if "instance" in use else NO_INSTANCE
            for mig in self.gpus[use["gpu"]]["mig"] or []:
                if mig["ids"] == ids and mig["begin"] <= begin < mig["end"]:
                    stop = min(stop, mig["end"])
            for offset in range(process.get("count", 1)):
                context = Context(process["pid"] + offset, use["gpu"], ids, use.get("kind", ["compute"]), begin, stop)
                context.pieces = self._pieces(use, begin)
                found.append(context)
        return found

    @staticmethod
    def _pieces(use: dict, begin: int) -> list:
        def memory(value):
            return None if value == "unavailable" else size(value)

        load = {engine: Fraction(str(use.get(engine, 0))) for engine in ENGINES}
        pieces = [(begin, memory(use.get("memory", 0)), load)]
        for step in use.get("steps", []):
            _, held, load = pieces[-1]
            changed = {engine: Fraction(str(step[engine])) if engine in step else load[engine] for engine in ENGINES}
            pieces.append((micros(step["at"]), memory(step["memory"]) if "memory" in step else held, changed))
        return pieces

    def driver_at(self, at: int) -> dict:
        """How often it has changed, whether it is there, since when, and its versions."""
        past = [event for event in self.events if micros(event["at"]) <= at]
        state = {"changes": len(past), "loaded": True, "since": None, **self.driver}
        for event in past:
            state["loaded"] = not event.get("unloaded", False)
            if state["loaded"]:
                state["since"] = micros(event["at"])
            version = event.get("upgrade") or event.get("version")
            if version:
                state |= {"version": version, "nvml": self.driver["nvml"].split(".")[0] + "." + version}
        return state

    def told(self, changes: int, at: int) -> str | None:
        """The error that a client gets that initialised after so many changes."""
        since = [event for event in self.events if micros(event["at"]) <= at][changes:]
        if any("unloaded" in event for event in since):
            return "UNINITIALIZED"
        return "LIB_RM_VERSION_MISMATCH" if since else None

    # Answers.

    def listed(self, gpu: int, kind: str, at: int, ids=None) -> list:
        """(pid, memory, gpu instance, compute instance), sorted."""
        here = [c for c in self.on(gpu, at) if kind in c.kinds and (ids is None or c.ids == ids)]
        return sorted((c.pid, -1 if c.memory(at) is None else c.memory(at), *c.ids) for c in here)

    def on(self, gpu: int, at: int) -> list:
        return [c for c in self.contexts if c.gpu == gpu and c.alive(at)]

    def held(self, gpu: int, at: int, gpu_instance=None) -> int:
        here = [c for c in self.on(gpu, at) if gpu_instance is None or c.ids[0] == gpu_instance]
        return sum(c.memory(at) or 0 for c in here)

    def total(self, gpu: int, engine: str, start: int, stop: int, gpu_instance=None) -> Fraction:
        here = [c for c in self.contexts if c.gpu == gpu and (gpu_instance is None or c.ids[0] == gpu_instance)]
        return min(sum((c.used(engine, start, stop) for c in here), Fraction(0)) / (stop - start), Fraction(100))

    def samples(self, gpu: int, style: str, seen, now: int) -> list:
        """(pid, time, sm, mem, enc, dec), sorted."""
        here = [c for c in self.contexts if c.gpu == gpu]
        if style == "average":
            spans = [(c, seen if seen is not None else c.begin, now) for c in here if c.alive(now)]
            entries = [self.entry(c, start, stop) for c, start, stop in spans if start < stop]
            return sorted(entry for entry in entries if entry)
        oldest = max(now - self.keep, -FOREVER if seen is None else seen)
        ticks = range(oldest // self.period + 1, now // self.period + 1)
        entries = []
        for context in here:
            if style == "last" and not context.alive(now):
                continue
            mine = [self.entry(context, (tick - 1) * self.period, tick * self.period) for tick in ticks]
            mine = [entry for entry in mine if entry]
            entries += mine[-1:] if style == "last" else mine
        return sorted(entries)

    @staticmethod
    def entry(context: Context, start: int, stop: int):
        used = [context.used(engine, start, stop) for engine in ENGINES]
        if not any(used):
            return None
        return (context.pid, stop, *(rounded(value / (stop - start)) for value in used))

    def moments(self) -> list:
        """Every moment at which something changes."""
        moments = {0}
        for context in self.contexts:
            moments |= {context.begin, context.end, *(piece[0] for piece in context.pieces)}
        for gpu in self.gpus:
            for mig in gpu["mig"] or []:
                moments |= {mig["begin"], mig["end"]}
        moments |= {micros(event["at"]) for event in self.events}
        return sorted(moment for moment in moments if -FOREVER < moment < FOREVER)

    def faulty(self, at: int) -> bool:
        def on(fault):
            begin = micros(fault["from"]) if "from" in fault else -FOREVER
            end = micros(fault["until"]) if "until" in fault else FOREVER
            return begin <= at < end

        return any(on(fault) for fault in self.raw.get("faults", []))
