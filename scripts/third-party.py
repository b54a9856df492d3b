"""Writes the notices of the crates and of the page's packages that are in the program, each licence once.

usage: third-party.py FILE
"""

import collections
import json
import pathlib
import subprocess
import sys

PAGE = pathlib.Path(__file__).parent.parent / "crates/agent/assets/page/licenses.txt"
FEATURES = ["-p", "gpu-session-monitor", "--no-default-features"]


def linked():
    """Names and versions of the crates that are in the program."""
    tree = ["cargo", "tree", "--locked", *FEATURES, "--edges", "normal", "--prefix", "none", "--format", "{p}"]
    lines = subprocess.run(tree, check=True, capture_output=True, text=True).stdout.splitlines()
    return {tuple(line.split()[:2]) for line in lines if line}


def notices(folder):
    """Texts of the licences in a crate's folder."""
    names = ("license", "licence", "copying", "notice", "copyright", "unlicense")
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and file.name.lower().startswith(names)]
    return [file.read_text(errors="replace").strip().replace("\r\n", "\n") for file in files]


def main(target):
    metadata = ["cargo", "metadata", "--locked", "--format-version", "1"]
    document = json.loads(subprocess.run(metadata, check=True, capture_output=True, text=True).stdout)
    wanted = linked()
    crates, texts = [], collections.defaultdict(list)
    for package in sorted(document["packages"], key=lambda package: (package["name"], package["version"])):
        # Our own are under the program's licence.
        if package["source"] is None or (package["name"], f"v{package['version']}") not in wanted:
            continue
        name = f"{package['name']} {package['version']}"
        crates.append(f"{name}: {package['license'] or 'see its notice'}")
        for text in notices(pathlib.Path(package["manifest_path"]).parent):
            texts[text].append(name)
    if len(crates) < 50:
        sys.exit(f"error: only {len(crates)} crates were found: see what cargo tree says")
    with open(target, "w") as file:
        print("gpu-session-monitor is linked with these crates, and with SQLite, which is in the public domain.\n", file=file)
        print("\n".join(crates), file=file)
        for text, names in sorted(texts.items(), key=lambda item: item[1]):
            print(f"\n{'-' * 80}\n{', '.join(names)}\n\n{text}", file=file)
        print(f"\n{'=' * 80}\n{PAGE.read_text().strip()}", file=file)


if __name__ == "__main__":
    main(sys.argv[1])
