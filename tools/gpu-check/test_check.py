"""Tests of the check that need no card: what it reads, how it judges, and the whole of it with stand-ins."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import stat
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import check
import loads
import probe
import ptx
import readers
import report

HERE = Path(__file__).resolve().parent
MIB = 1 << 20

PMON_550 = """\
# gpu         pid   type     sm    mem    enc    dec    jpg    ofa    command 
# Idx           #    C/G      %      %      %      %      %      %    name 
    0    1288123     C     98      3      -      -      -      -    python3        
    0    1288124     C      -      -      -      -      -      -    python3        
# gpu         pid   type     sm    mem    enc    dec    jpg    ofa    command 
# Idx           #    C/G      %      %      %      %      %      %    name 
    0    1288123     C    100      2      -      -      -      -    python3        
    0    1288124     C     51      0      -      -      -      -    my job: x      
"""
PMON_470 = """\
# gpu        pid  type    sm   mem   enc   dec   command
# Idx          #   C/G     %     %     %     %   name
    0       4242     C    24     9     0     0   python         
    1          -     -     -     -     -     -   -              
"""
APPS = "1288123, 2304\n1288124, [N/A]\n1288125, 410 MiB\n1288126, [Insufficient Permissions]\n"


class Reading(unittest.TestCase):
    def test_pmon_is_read_by_its_header(self):
        self.assertEqual(readers.parse_pmon(PMON_550), {1288123: [98, 100], 1288124: [0, 51]})
        self.assertEqual(readers.parse_pmon(PMON_470), {4242: [24]})
        self.assertEqual(readers.parse_pmon("Not supported on the device(s)\nFailed to process command line.\n"), {})

    def test_pmon_with_memory_columns_before(self):
        text = ("# gpu         pid   type     fb   ccpm     sm    mem    command\n"
                "# Idx           #    C/G     MB     MB      %      %    name\n"
                "    0         99     C    2304      0      7      1    a\n")
        self.assertEqual(readers.parse_pmon(text), {99: [7]})

    def test_memory_that_is_not_told_is_unknown(self):
        found = readers.parse_compute_apps(APPS)
        self.assertEqual(found, {1288123: 2304 * MIB, 1288124: None, 1288125: 410 * MIB, 1288126: None})
        self.assertEqual(readers.parse_compute_apps("No running processes found\n"), {})

    def test_metrics_and_sessions(self):
        metrics = readers.parse_metrics(
            '# HELP x y\ngpu_session_info{session="a",pid="7",command="x \\"y\\", z",user=""} 1\n'
            'gpu_session_info{session="b",pid="8"} 1\ngpu_session_memory_used_bytes{session="a"} 2.5e9\n'
            'gpu_session_sm_utilization_ratio{session="b"} 0.5\ngpu_session_sm_seconds_total{session="old"} 3\n'
            "gpu_session_collector_last_sample_timestamp_seconds 1700000000.25\n")
        self.assertEqual(readers.sessions(metrics), {7: {"pid": 7, "memory": 2.5e9}, 8: {"pid": 8, "share": 0.5}})
        self.assertEqual(metrics["gpu_session_info"][0][0]["command"], 'x \\"y\\", z')


def answers(*values, code="SUCCESS"):
    return code, [{"pid": p, "time": t, "sm": s, "mem": 0, "enc": 0, "dec": 0} for p, t, s in values]


def looked(*pairs, now=1_700_000_000_000_000):
    """Looks a second apart; stamps and values relative to each."""
    looks = []
    for k, (near, far) in enumerate(pairs):
        at = now + k * 1_000_000
        move = lambda entries, at=at: answers(*[(p, at - age, s) for p, age, s in entries],
                                              code="SUCCESS" if entries else "NOT_FOUND")
        looks.append({"time": at, "since": {"near": at - 1_000_000, "far": at - 8_000_000},
                      "near": move(near), "far": move(far)})
    return looks


class Style(unittest.TestCase):
    def test_many(self):
        ring = [(7, age, 90) for age in range(7_900_000, 0, -200_000)]
        found = probe.style(looked((ring[-4:], ring), (ring[-4:], ring)), ended={7})
        self.assertEqual((found["style"], found["period_us"], found["in_time_order"]), ("many", 200_000, True))
        self.assertTrue(found["unix_microseconds"] and found["names_ended_processes"])

    def test_one_entry_is_an_average_or_the_last_period(self):
        average = looked(([(7, 0, 0)], [(7, 0, 0)]), ([(7, 0, 100)], [(7, 0, 40)]))
        self.assertEqual(probe.style(average)["style"], "average")
        last = looked(([(7, 100, 0)], [(7, 100, 0)]), ([(7, 90, 100)], [(7, 90, 100)]))
        self.assertEqual(probe.style(last)["style"], "last")
        self.assertEqual(probe.style(looked(([(7, 90, 50)], [(7, 90, 50)])))["style"], "one")

    def test_nobody_and_nonsense(self):
        self.assertEqual(probe.style(looked(([], [])))["codes"], {"NOT_FOUND": 2})
        found = probe.style(looked(([(0, 5, 1), (7, 2_000_000, 101)], [])))
        self.assertEqual((found["style"], found["values_over_100"]), ("none", 1))
        self.assertEqual((found["entries_of_pid_0"], found["entries_not_newer_than_asked"]), (1, 1))
        self.assertFalse(found["unix_microseconds"], "no stamp was of this clock")

    def test_shares_of_a_time(self):
        ring = answers(*[(7, 200_000 * k, 50) for k in range(1, 61)])
        self.assertEqual(probe.shares(ring, 2e6, 10e6, 200_000), {7: 50.0})
        self.assertEqual(probe.shares(answers((7, 9_000_000, 30)), 2e6, 8e6, None), {7: 30.0})
        self.assertIsNone(probe.shares(("NOT_SUPPORTED", []), 0, 1, None))


class Judging(unittest.TestCase):
    def test_verdicts(self):
        table = report.Table()
        for collector in (97.0, 94.9, 105.1, None):
            table.add("x", "busy", "%", 100.0, 99.0, collector, 100.0, 5.0)
        table.add("x", "memory", "MiB", 256 * MIB, None, 700 * MIB, 256 * MIB, 0, 1536 * MIB)
        table.add("x", "memory", "MiB", 256 * MIB, None, 255 * MIB, 256 * MIB, 0, 1536 * MIB)
        table.add("x", "busy", "%", None, None, 3.0, None, 0)
        verdicts = [row["verdict"] for row in table.rows]
        self.assertEqual(verdicts, ["ok", "OFF", "OFF", "ABSENT", "ok", "OFF", "shown"])
        self.assertEqual(len(table.failed()), 4)
        lines = list(table.lines())
        self.assertIn("| x | busy | 100.0 % | 99.0 % | 97.0 % | -3.0 % | ±5.0 % | ok |", lines)
        self.assertIn("-0 MiB to +1536 MiB", lines[-3])

    def test_a_load_counts_within_the_time_only(self):
        load = loads.Running.__new__(loads.Running)
        load.kernels = [{"from_us": 50 * k, "to_us": 50 * k + 50, "turns": 10 * k} for k in range(10)]
        self.assertEqual(load.busy_us(25, 425), 400)
        self.assertAlmostEqual(load.turns_per_second(0, 1000), 200_000)
        self.assertIsNone(load.turns_per_second(0, 60))

    def test_the_document_states_the_tolerances(self):
        text = (HERE.parents[1] / "docs" / "gpu-check.md").read_text(encoding="utf-8")
        for name, value in report.TOLERANCE.items():
            stated = f"{value // MIB} MiB" if value >= MIB else f"{value:.0f} %"
            lines = [line for line in text.splitlines() if line.startswith(f"| {name} | {stated} ")]
            self.assertEqual(len(lines), 1, f"{name}: {stated}")
        self.assertTrue(all(f"`{column}`" in text for column in report.COLUMNS))


class Careful(unittest.TestCase):
    def test_only_functions_that_read_are_called(self):
        allowed = r"nvml(Init|System|Gpm(Sample(Alloc|Get|Free)|MetricsGet|QueryDeviceSupport)|DeviceGet)"
        for path in HERE.glob("*.py"):
            for name in re.findall(r'"(nvml[A-Z]\w+)', path.read_text(encoding="utf-8")):
                self.assertRegex(name, allowed)
                self.assertNotRegex(name, "Set|Clear|Reset|Create|Destroy")

    def test_layouts_are_those_of_the_header(self):
        sizes = {probe.Memory1: 24, probe.Memory2: 40, probe.Process1: 16, probe.Process2: 24, probe.Use: 32,
                 probe.UseInfo: 40, probe.UsesInfo: 24, probe.GpmMetric: 40, probe.Pci: 68}
        self.assertEqual({kind: probe.sizeof(kind) for kind in sizes}, sizes)
        self.assertEqual(probe.versioned(probe.Memory2, 2).version, 0x02000028)

    def test_pace_finds_the_clock(self):
        pace = loads.Pace()
        for _ in range(20):
            cycles = pace.cycles(50)
            pace.learn(cycles, cycles / 1.7e6)
        self.assertAlmostEqual(pace.cycles_per_ms, 1.7e6, delta=1e3)
        pace.learn(100, 0.0)

    def test_no_engine_says_why(self):
        with mock.patch.object(ptx, "load_library", side_effect=ptx.Unusable("no libcuda")), \
                mock.patch.dict(sys.modules, {"torch": None, "cupy": None}):
            with self.assertRaisesRegex(ptx.Unusable, "driver: no libcuda; nvcc: no libcuda; cupy: .*; torch: "):
                ptx.open_engine("auto")


# A load without a card: `loads.py` itself, on an engine whose kernels only wait.
FAKE_LOAD = """\
import json, os, sys, time
sys.dont_write_bytecode = True
sys.path.insert(0, {here!r})
import loads, ptx
class Engine:
    name = "fake"
    turns, clock = 0, 1.4e6
    def multiprocessors(self): return 4
    def allocate(self, size): note("memory", size)
    def launch(self, cycles, blocks): return cycles
    def finish(self, cycles):
        time.sleep(cycles / self.clock / 1000)
        self.turns += cycles // 100
        return cycles / self.clock
    def turns_done(self): return self.turns
status = os.path.join({status!r}, str(os.getpid()))
def note(key, value):
    with open(status + ".new", "w") as file: json.dump({{key: value, "busy": loads.parse().busy / 100}}, file)
    os.replace(status + ".new", status)
ptx.open_engine = lambda name: Engine()
try: code = loads.main()
finally: os.path.exists(status) and os.remove(status)
sys.exit(code)
"""
# A collector and an nvidia-smi that say what those loads noted down.
FAKE_PROGRAM = """\
#!{python}
import json, os, sys, time
now, status = time.time(), {status!r}
there = {{}}
for name in os.listdir(status):
    try: there[int(name)] = json.load(open(os.path.join(status, name)))
    except (OSError, ValueError): pass
option = lambda name: sys.argv[sys.argv.index(name) + 1]
if "--version" in sys.argv: print("fake 1")
elif "record" in sys.argv: open(option("--output"), "w").write("{{}}")
elif "pmon" in sys.argv:
    print("# gpu pid type sm command")
    for pid, it in there.items(): print("0", pid, "C", int(it["busy"] * 100), "x")
elif "-i" in sys.argv:
    for pid, it in there.items(): print(f"{{pid}}, {{(it['memory'] >> 20) + {wrong}}}")
else:
    with open(option("--textfile"), "w") as out:
        for pid, it in there.items():
            out.write(f'gpu_session_info{{{{session="{{pid}}",pid="{{pid}}"}}}} 1\\n')
            out.write(f'gpu_session_memory_used_bytes{{{{session="{{pid}}"}}}} {{it["memory"]}}\\n')
            out.write(f'gpu_session_sm_utilization_ratio{{{{session="{{pid}}"}}}} {{it["busy"]}}\\n')
            out.write(f'gpu_session_sm_seconds_total{{{{session="{{pid}}"}}}} {{it["busy"] * now}}\\n')
        out.write(f'gpu_session_collector_last_sample_timestamp_seconds {{now}}\\n')
"""


class FakeNvml:
    """A driver that knows the noted loads and tells of them in a ring."""

    def __init__(self, status):
        self.status = Path(status)

    def count(self):
        return 1

    def handle(self, index):
        return index

    def on_device(self, handle):
        return {int(path.name): 0 for path in self.status.iterdir() if path.name.isdigit()}

    def processes(self, handle, *_):
        return "SUCCESS", self.on_device(handle)

    def uses(self, handle, since):
        now = probe.time.time_ns() // 1000
        stamps = range(max(since, now - 2_000_000) // 200_000 * 200_000 + 200_000, now, 200_000)
        listed = answers(*[(pid, stamp, 100) for pid in self.on_device(handle) for stamp in stamps])[1]
        return ("SUCCESS", listed) if listed else ("NOT_FOUND", [])

    def uses_room(self, handle, since):
        return {"code": "INSUFFICIENT_SIZE", "count": 1}

    def uses_info(self, handle, since):
        return {"code": probe.ABSENT}

    def gpm(self, handle, seconds):
        return {"code": "NOT_SUPPORTED"}


def fake_facts(*_):
    memory = {"code": "SUCCESS", "total": 1 << 35, "used": 600 * MIB, "free": 1 << 34, "reserved": 600 * MIB}
    off = {"code": "SUCCESS", "value": 0}
    return {"driver": "550.1", "nvml": "12", "cuda": "12.4", "card": "NVIDIA Fake 9000", "uuid": "GPU-0", "mig": {
        "code": "NOT_SUPPORTED", "current": 0, "pending": 0}, "compute_capability": "9.0", "memory_v1": memory,
        "memory_v2": memory, "persistence_mode": off, "accounting_mode": off, "energy_millijoules": off,
        "gpm": {"code": "SUCCESS", "supported": False}, "process_lists": {"Compute_v3": {"code": "SUCCESS"}}}


class Whole(unittest.TestCase):
    def whole(self, wrong):
        """The check from end to end; nvidia-smi says so many MiB too much."""
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            status, bin_folder = folder / "status", folder / "bin"
            status.mkdir(), bin_folder.mkdir()
            (folder / "load.py").write_text(FAKE_LOAD.format(here=str(HERE), status=str(status)))
            program = bin_folder / "nvidia-smi"
            program.write_text(FAKE_PROGRAM.format(python=sys.executable, status=str(status), wrong=wrong))
            program.chmod(program.stat().st_mode | stat.S_IXUSR)
            arguments = ["--program", str(program), "--out", str(folder / "out"), "--seconds", "0.3", "--settle", "0.1",
                         "--jobs", "2"]
            with mock.patch.object(loads, "PROGRAM", [sys.executable, str(folder / "load.py")]), \
                    mock.patch.object(probe, "facts", fake_facts), \
                    mock.patch.dict(os.environ, {"PATH": str(bin_folder)}), \
                    contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                code = check.main(arguments, FakeNvml(status))
            self.assertEqual(list(status.iterdir()), [], "no load is left")
            result = json.loads((folder / "out" / "gpu-check.json").read_text())
            written = sorted(path.name for path in (folder / "out").iterdir())
            return code, result, written, (folder / "out" / "gpu-check.md").read_text()

    def test_every_load_is_run_and_compared(self):
        code, result, written, text = self.whole(wrong=0)
        self.assertEqual(written, ["capture.json", "gpu-check.json", "gpu-check.md"])
        self.assertEqual(result["problems"], [])
        self.assertEqual(result["answers"]["style"]["style"], "many")
        self.assertEqual({row["load"] for row in result["rows"]}, {*check.STAGES, check.JOBS})
        verdicts = {(row["load"], row["what"]): row["verdict"] for row in result["rows"]}
        # What does not depend on how busy this machine is.
        for load in check.STAGES:
            self.assertEqual(verdicts[load, "sessions"], "ok")
            self.assertEqual(verdicts[load, "memory"], "ok")
        self.assertEqual(verdicts[check.IDLE, "busy"], "ok")
        self.assertEqual(verdicts[check.MEMORY, "memory beyond idle context"], "ok")
        self.assertTrue(all(row["load_says"] is not None for row in result["rows"]), "each load measured itself")
        # The stand-in has no sums by user: that is seen.
        self.assertEqual((code, verdicts[check.JOBS, "SM seconds of all"]), (1, "OFF"))
        self.assertIn("## NVIDIA Fake 9000, driver 550.1", text)

    def test_a_difference_from_nvidia_smi_is_off(self):
        with mock.patch.object(check, "STAGES", {check.IDLE: check.STAGES[check.IDLE]}):
            result = self.whole(wrong=7)[1]
        memory = [row["verdict"] for row in result["rows"] if row["what"] == "memory"]
        self.assertEqual(set(memory), {"OFF"})


if __name__ == "__main__":
    unittest.main()
