"""What a scenario's profiles and branches stand for."""

# Model, GiB, MiB reserved, slices of MIG (0: none), GPM, watts when idle and when busy.
CARDS = {
    "A100-40GB": ("NVIDIA A100-SXM4-40GB", 40, 600, 7, False, 50, 400),
    "A100-80GB": ("NVIDIA A100-SXM4-80GB", 80, 600, 7, False, 60, 400),
    "A30": ("NVIDIA A30", 24, 512, 4, False, 30, 165),
    "H100": ("NVIDIA H100 80GB HBM3", 80, 600, 7, True, 70, 700),
    "H200": ("NVIDIA H200", 141, 700, 7, True, 75, 700),
    "B200": ("NVIDIA B200", 180, 900, 7, True, 140, 1000),
    "L40S": ("NVIDIA L40S", 48, 450, 0, False, 35, 350),
    "T4": ("Tesla T4", 16, 400, 0, False, 10, 70),
}

# Version of the driver, and of CUDA.
BRANCHES = {
    "R450": ("450.248.02", 11000),
    "R515": ("515.105.01", 11070),
    "R535": ("535.183.01", 12020),
    "R535-early": ("535.54.03", 12020),
    "R550": ("550.54.15", 12040),
    "R580": ("580.82.07", 13000),
    "R590": ("590.44.01", 13010),
}


def card(raw: dict) -> dict:
    """A GPU's own keys, with those of its profile where it has none."""
    if "profile" not in raw:
        return {"mig_capable": True, "slices": 7, "gpm": False, "reserved": 0, **raw}
    model, memory, reserved, slices, gpm, idle, busy = CARDS[raw["profile"]]
    usual = {
        "model": model,
        "memory": f"{memory}GiB",
        "reserved": f"{reserved}MiB",
        "slices": slices or 1,
        "mig_capable": slices > 0,
        "gpm": gpm,
    }
    power = {"idle": idle, "busy": busy, "report": "energy", **raw.get("power", {})}
    return {**usual, **raw, "power": power}


def driver(raw: dict) -> dict:
    """What the driver says about itself."""
    if "branch" not in raw:
        return {"version": "550.54.15", "nvml": "12.550.54.15", "cuda": 12040, **raw}
    version, cuda = BRANCHES[raw["branch"]]
    usual = {"version": version, "cuda": cuda, **raw}
    return {"nvml": f"{usual['cuda'] // 1000}.{usual['version']}", **usual}
