"""What other programs say: the collector that is checked, and nvidia-smi."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

# Settings of the collector that are kept from our environment; all others would change what is checked.
KEPT = ("GPU_SESSION_MONITOR_PROC_ROOT", "GPU_SESSION_MONITOR_USERS_PASSWD")


def parse_metrics(text: str) -> dict:
    """{name: [(labels, value)]} of the text format."""
    metrics = {}
    for line in text.splitlines():
        found = re.match(r"(\w+)(?:\{(.*)\})? (\S+)$", line)
        if found and not line.startswith("#"):
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
            metrics.setdefault(found[1], []).append((labels, float(found[3])))
    return metrics


def sessions(metrics) -> dict:
    """{pid: what is said of its session} of the sessions that are there."""
    by_session = {labels["session"]: {"pid": int(labels["pid"])} for labels, _ in metrics.get("gpu_session_info", ())}
    for name, key in (("gpu_session_memory_used_bytes", "memory"), ("gpu_session_sm_utilization_ratio", "share"),
                      ("gpu_session_sm_seconds_total", "seconds")):
        for labels, value in metrics.get(name, ()):
            if labels["session"] in by_session:
                by_session[labels["session"]][key] = value
    return {session["pid"]: session for session in by_session.values()}


class Collector:
    """The program that is checked, with a state and a textfile of its own."""

    def __init__(self, program, library, device, folder: Path):
        self.program, self.problems = program, []
        self.textfile = folder / "textfiles" / "gpu_sessions.prom"
        self.textfile.parent.mkdir(parents=True)
        config = folder / "config.yaml"
        config.write_text("{}\n")
        self.settings = ["--config", str(config), "--state-dir", str(folder / "state"), "--device", device,
                         "--textfile", str(self.textfile), *(["--nvml-library", library] if library else [])]
        ours = lambda name: name.startswith("GPU_SESSION_MONITOR_") and name not in KEPT
        self.environment = {name: value for name, value in os.environ.items() if not ours(name)}

    def run(self, *arguments):
        done = subprocess.run([self.program, *arguments, *self.settings], stdout=subprocess.PIPE, timeout=120,
                              stderr=subprocess.PIPE, env=self.environment, universal_newlines=True, check=False)
        if done.returncode != 0:
            self.problems.append(f"{arguments[0]}: exit {done.returncode}: {done.stderr.strip()[-300:]}")

    def version(self) -> str:
        done = subprocess.run([self.program, "--version"], stdout=subprocess.PIPE, universal_newlines=True, check=False)
        return done.stdout.strip()

    def collect(self) -> dict:
        """One sample: when it was, what it says of each session, and the sum over all users."""
        self.run("collect")
        metrics = parse_metrics(self.textfile.read_text()) if self.textfile.exists() else {}
        times = metrics.get("gpu_session_collector_last_sample_timestamp_seconds", [({}, 0.0)])
        return {"time_us": times[0][1] * 1e6, "sessions": sessions(metrics),
                "user_seconds": sum(value for _, value in metrics.get("gpu_user_sm_seconds_total", ()))}

    def record(self, capture: Path):
        """A capture: it has names and ids of processes, and never their arguments."""
        self.run("record", "--output", str(capture), "--samples", "5", "--interval", "1s")


def parse_compute_apps(text: str) -> dict:
    """{pid: bytes or None} of `nvidia-smi --query-compute-apps=pid,used_memory --format=csv,noheader,nounits`."""
    found = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) == 2 and fields[0].isdigit():
            number = fields[1].replace(" MiB", "")
            found[int(fields[0])] = int(number) << 20 if number.isdigit() else None
    return found


def parse_pmon(text: str) -> dict:
    """{pid: [percent SM of each sample]} of `nvidia-smi pmon`; a dash is no use in that sample. Columns differ between
    drivers: the header says which is which."""
    columns, found = [], {}
    for line in text.splitlines():
        fields = line.split()
        if fields[:2] == ["#", "gpu"]:
            columns = [name.lower() for name in fields[1:]]
        elif fields and not fields[0].startswith("#"):
            row = dict(zip(columns, fields))
            if row.get("pid", "-").isdigit() and "sm" in row:
                found.setdefault(int(row["pid"]), []).append(int(row["sm"]) if row["sm"].isdigit() else 0)
    return found


class Smi:
    """nvidia-smi, where it is there."""

    def __init__(self, device: str):
        self.device, self.program = device, shutil.which("nvidia-smi")

    def memory(self) -> dict:
        """{pid: bytes or None}"""
        if not self.program:
            return {}
        command = [self.program, "-i", self.device, "--query-compute-apps=pid,used_memory",
                   "--format=csv,noheader,nounits"]
        done = subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True, timeout=60, check=False)
        return parse_compute_apps(done.stdout)

    def start_pmon(self, samples: int):
        if not self.program:
            return None
        command = [self.program, "pmon", "-i", self.device, "-c", str(max(1, samples)), "-d", "1", "-s", "u"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True)

    def end_pmon(self, pmon) -> dict:
        """{pid: mean percent}"""
        if pmon is None:
            return {}
        try:
            text, _ = pmon.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            pmon.kill()
            text, _ = pmon.communicate()
        return {pid: sum(values) / len(values) for pid, values in parse_pmon(text).items()}
