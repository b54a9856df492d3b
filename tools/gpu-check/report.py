"""The comparison: what may lie between the three, the table, and the report."""

from __future__ import annotations

import platform
import re
import time

MIB = 1 << 20

# What may lie between the collector and what it is held against. docs/gpu-check.md says the same.
TOLERANCE = {
    "no kernels": 1.0,  # percent of the time
    "steady": 5.0,  # percent of the time
    "half": 5.0,  # percent of the time
    "half, one period": 40.0,  # the same, where the driver tells only its last sample period
    "two at once": 10.0,  # percent of the time, their sum
    "short jobs": 10.0,  # percent of their sum
    "as found": 5.0,  # percent of the time
    "nvidia-smi memory": MIB,  # nvidia-smi says whole MiB
    "context": 1536 * MIB,  # what a context takes beside what the load allocated, at most
    "memory difference": 64 * MIB,
}
COLUMNS = ("Load", "What", "The load says", "nvidia-smi says", "The collector says", "Difference", "Tolerance",
           "Verdict")
UNKNOWN = "-"


class Table:
    """A row for each thing that the collector and somebody else say."""

    def __init__(self):
        self.rows = []

    def add(self, load, what, unit, says, smi, collector, against, below, above=None):
        """The collector may say `below` less and up to `above` more than `against`; without `against` nothing is
        judged."""
        above = below if above is None else above
        difference = None if collector is None or against is None else collector - against
        if against is None:
            verdict = "shown"
        elif difference is None:
            verdict = "ABSENT"
        else:
            verdict = "ok" if -below <= difference <= above else "OFF"
        self.rows.append({"load": load, "what": what, "unit": unit, "load_says": says, "nvidia_smi_says": smi,
                          "collector_says": collector, "difference": difference, "below": below, "above": above,
                          "verdict": verdict})

    def failed(self):
        return [row for row in self.rows if row["verdict"] in ("ABSENT", "OFF")]

    def lines(self):
        """The table in Markdown."""
        yield "| " + " | ".join(COLUMNS) + " |"
        yield "|" + "---|" * len(COLUMNS)
        for row in self.rows:
            show = lambda key, row=row: shown(row[key], row["unit"])
            limit = f"±{show('above')}" if row["below"] == row["above"] else f"-{show('below')} to +{show('above')}"
            cells = (row["load"], row["what"], show("load_says"), show("nvidia_smi_says"), show("collector_says"),
                     show("difference"), UNKNOWN if row["verdict"] == "shown" else limit, row["verdict"])
            yield "| " + " | ".join(cells) + " |"


def shown(value, unit) -> str:
    """A value for people."""
    if value is None:
        return UNKNOWN
    if unit == "MiB":
        return f"{value / MIB:.0f} MiB"
    return {"%": f"{value:.1f} %", "s": f"{value:.2f} s"}.get(unit, f"{value:.0f}")


def slug(facts) -> str:
    """A folder's name for this card and driver: h100-550."""
    words = re.sub(r"[^a-z0-9]+", " ", (facts["card"] or "gpu").lower()).split()
    words = [word for word in words if word not in ("nvidia", "geforce")]
    return "-".join([*words[:3], (facts["driver"] or "unknown").split(".")[0]])


def say(value, unit="") -> str:
    """An answer in words."""
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value}{unit}"


def seconds(microseconds):
    return None if microseconds is None else round(microseconds / 1e6, 3)


def answers(result):
    """(question, answer) of what the driver was asked."""
    facts, style = result["facts"], result["answers"].get("style", {})
    idle, zero = result["answers"].get("nobody_active", {}), result["answers"].get("at_zero", {})
    ended = result["answers"].get("ended_at_zero", {})
    mode = lambda answer: {0: "off", 1: "on"}.get(answer["value"], answer["code"])
    yield "nvmlDeviceGetProcessUtilization answers with", say(style.get("style"))
    yield "most entries for one process", say(style.get("most_entries_per_process"))
    yield "sample period", say(seconds(style.get("period_us")), " s")
    yield "stamp 0 gives", "{}, {} entries of {} processes".format(
        *(say(zero.get(key)) for key in ("code", "entries", "processes")))
    yield "the ring reaches back", say(seconds(zero.get("reaches_back_us")), " s")
    yield "stamps are Unix microseconds", say(style.get("unix_microseconds"))
    yield "entries come in time order", say(style.get("in_time_order"))
    named, asked = ended.get("ended_processes_named"), ended.get("ended_processes_asked_for")
    yield "ended processes named at stamp 0", f"{say(named)} of {say(asked)}"
    yield "values over 100; not newer than asked; of pid 0", "; ".join(
        say(style.get(key)) for key in ("values_over_100", "entries_not_newer_than_asked", "entries_of_pid_0"))
    yield "nobody active, stamp 0 and one second ago", f"{say(idle.get('at_zero'))}, {say(idle.get('a_second_ago'))}"
    yield "a call without a buffer", say(zero.get("without_buffer", {}).get("code"))
    yield "a stamp in the future", say(zero.get("ahead_of_now"))
    yield "nvmlDeviceGetProcessesUtilizationInfo", say(zero.get("successor", {}).get("code"))
    reserved = facts["memory_v2"]
    yield "memory v2", f"{reserved['code']}, {shown(reserved['reserved'], 'MiB')} reserved"
    yield "memory v1 used less v2 used", shown(facts["memory_v1"]["used"] - reserved["used"], "MiB")
    listed = result["answers"].get("load_listed", {})
    there = [name for name, answer in facts["process_lists"].items() if answer["code"] == "SUCCESS"]
    yield "process lists that are there", ", ".join(there) or "none"
    naming = [name for name, names in listed.items() if names]
    yield "lists of compute processes that name the load", ", ".join(naming) or "none"
    yield "the driver's pids are ours", say(result["answers"].get("same_pids"))
    yield "GPM", f"{facts['gpm']['code']}, supported: {say(facts['gpm']['supported'])}"
    for load, answer in result["answers"].get("gpm", {}).items():
        graphics, sm = (shown(answer.get(key), "%") for key in ("graphics_percent", "sm_percent"))
        yield f"GPM over {load}", f"{answer['code']}: graphics {graphics}, SM {sm}"
    yield "accounting mode", mode(facts["accounting_mode"])
    yield "persistence mode", mode(facts["persistence_mode"])
    yield "energy counter", facts["energy_millijoules"]["code"]
    mig = facts["mig"]
    yield "MIG mode", {0: "off", 1: "on"}.get(mig["current"]) if mig["code"] == "SUCCESS" else mig["code"]


def markdown(result, table: Table) -> str:
    """The report; it names no host, no path and no user."""
    facts = result["facts"]
    stated = {
        "card": facts["card"], "compute capability": facts["compute_capability"], "driver": facts["driver"],
        "NVML": facts["nvml"], "CUDA": facts["cuda"], "kernel": result["kernel"], "date": result["date"],
        "program": result["program"], "loads run by": ", ".join(result["engines"]) or "nobody: processes as found",
        "other processes on the card": result["others"],
    }
    lines = [f"## {facts['card']}, driver {facts['driver']}", "", "| Fact | |", "|---|---|"]
    lines += [f"| {name} | {say(value)} |" for name, value in stated.items()]
    lines += ["", *table.lines(), "", "| The driver was asked | It answers |", "|---|---|"]
    lines += [f"| {question} | {answer} |" for question, answer in answers(result)]
    if result["problems"]:
        lines += ["", "Problems:", "", *(f"- {problem}" for problem in result["problems"])]
    failed = len(table.failed())
    lines += ["", f"{len(table.rows)} rows, {failed} not within the tolerance, {len(result['problems'])} problems."]
    return "\n".join(lines) + "\n"


def surroundings() -> dict:
    """Where and when, without names."""
    return {"kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
            "date": time.strftime("%Y-%m-%d", time.gmtime())}
