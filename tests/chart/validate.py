"""Holds manifests against the strict schemas of every Kubernetes that the chart is for.

usage: validate.py OLDEST NEWEST FILE...
Prints "N manifests, VERSIONS"; what is wrong goes to standard error, and the exit code is 1.
"""

import sys

import kubernetes_validate as kv
import yaml
from packaging.version import Version

# Kinds of extensions, which Kubernetes itself has no schema of.
EXTENSIONS = {"monitoring.coreos.com/v1"}


def main(oldest, newest, files):
    known = {kv.utils.major_minor(version) for version in kv.utils.all_versions()}
    versions = sorted((v for v in known if Version(oldest) <= Version(v) <= Version(newest)), key=Version)
    if not versions or versions[0] != oldest or versions[-1] != newest:
        sys.exit(f"no schemas of {oldest} to {newest}: {versions}")
    count, bad = 0, 0
    for file in files:
        with open(file, encoding="utf-8") as text:
            manifests = [m for m in yaml.safe_load_all(text) if m and m["apiVersion"] not in EXTENSIONS]
        count += len(manifests)
        for manifest in manifests:
            for version in versions:
                try:
                    kv.validate(manifest, version, strict=True)
                except (kv.ValidationError, kv.SchemaNotFoundError) as error:
                    bad += 1
                    print(f"{file}: {manifest['kind']} in {version}: {error.message}", file=sys.stderr)
    print(f"{count} manifests, {' '.join(versions)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
