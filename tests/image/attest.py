#!/usr/bin/env python3
"""Writes what is in the image and how it was made beside the image's root file system:

    tests/image/attest.py ROOT FOLDER

FOLDER/sbom.cdx.json        a bill of materials, CycloneDX 1.5: every crate that is linked in, with its checksum, and those
                            that only the build runs (scope: excluded)
FOLDER/provenance.json      an in-toto statement (SLSA provenance 1.0): files, commit, compiler, lock file

Neither is signed: sign them with the key that signs the image, as `cosign attest --predicate` does.
"""
import hashlib
import json
import os
import subprocess
import sys

REPOSITORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def out(*command):
    return subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.strip()


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def tree(target, edges):
    """The crates of the program, each as name and version. The resolved graph of `cargo metadata` has the features of the
    whole workspace, so it names crates that only tests need."""
    lines = out(
        "cargo", "tree", "--locked", "--package", "mailcow-operator", "--target", target, "--edges", edges,
        "--prefix", "none", "--no-dedupe", "--format", "{p}",
    ).splitlines()
    return {(name, version.removeprefix("v")) for name, version, *_ in (line.split() for line in lines)}


def checksums():
    found, name, version = {}, None, None
    with open(os.path.join(REPOSITORY, "Cargo.lock"), encoding="utf-8") as lock:
        for line in lock:
            key, _, value = line.strip().partition(" = ")
            value = value.strip('"')
            if key == "name":
                name = value
            elif key == "version":
                version = value
            elif key == "checksum":
                found[(name, version)] = value
    return found


def bill(metadata, target, time):
    sums = checksums()
    packages = {(package["name"], package["version"]): package for package in metadata["packages"]}
    linked = tree(target, "normal,no-proc-macro")
    components = []
    for name, version in sorted(tree(target, "normal,build")):
        package = packages[name, version]
        component = {"type": "library", "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
        component["scope"] = "required" if (name, version) in linked else "excluded"
        if package["license"]:
            # An older notation has a slash for OR.
            expression = " OR ".join(part.strip() for part in package["license"].split("/"))
            component["licenses"] = [{"expression": expression}]
        if (name, version) in sums:
            component["hashes"] = [{"alg": "SHA-256", "content": sums[(name, version)]}]
        components.append(component)
    root = next(p for p in metadata["packages"] if p["id"] == metadata["resolve"]["root"])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "component": {"type": "application", "name": root["name"], "version": root["version"]},
        },
        "components": [c for c in components if c["name"] != root["name"]],
    }


def provenance(root, time):
    files = []
    for folder, _, names in os.walk(root):
        files += [os.path.join(folder, name) for name in names]
    subject = [{"name": os.path.relpath(file, root), "digest": {"sha256": sha256(file)}} for file in sorted(files)]
    lock = os.path.join(REPOSITORY, "Cargo.lock")
    dependencies = [{"name": "Cargo.lock", "digest": {"sha256": sha256(lock)}}]
    try:
        commit, changed = out("git", "rev-parse", "HEAD"), bool(out("git", "status", "--porcelain"))
        dependencies.append({"name": "source", "digest": {"gitCommit": commit}, "annotations": {"changed": changed}})
    except (OSError, subprocess.CalledProcessError):
        pass  # A source archive has no history.
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": "https://github.com/askrobots/mailcow-operator/blob/main/tests/image/rootfs.sh",
                "externalParameters": {"profile": os.environ.get("PROFILE", "release")},
                "internalParameters": {"rustc": out("rustc", "--version"), "cargo": out("cargo", "--version")},
                "resolvedDependencies": dependencies,
            },
            "runDetails": {"builder": {"id": "make image"}, "metadata": {"finishedOn": time}},
        },
    }


def main(root, folder):
    # Of the commit, so that two builds of it say the same.
    try:
        time = out("git", "log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ")
    except (OSError, subprocess.CalledProcessError):
        time = "1970-01-01T00:00:00Z"
    target = f"{os.uname().machine}-unknown-linux-gnu"
    metadata = json.loads(out("cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target))
    os.makedirs(folder, exist_ok=True)
    sbom = bill(metadata, target, time)
    for name, content in [("sbom.cdx.json", sbom), ("provenance.json", provenance(root, time))]:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, sort_keys=True)
            file.write("\n")
    linked = sum(component["scope"] == "required" for component in sbom["components"])
    print(f"{linked} linked crates in {folder}/sbom.cdx.json, how it was made in provenance.json")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: attest.py ROOT FOLDER")
    os.environ["TZ"] = "UTC"
    main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]))
