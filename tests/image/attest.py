#!/usr/bin/env python3
"""Writes what is in the image and how it was made beside the image's root file system:

    tests/image/attest.py ROOT FOLDER

FOLDER/sbom.cdx.json        a bill of materials, CycloneDX 1.5: every crate that is linked in, with its checksum
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


def linked(metadata):
    """The crates that the program is made of: no tests, no tools of the build."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, todo = set(), [metadata["resolve"]["root"]]
    while todo:
        package = todo.pop()
        if package in found:
            continue
        found.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    return found


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


def bill(metadata, time):
    sums, packages = checksums(), {package["id"]: package for package in metadata["packages"]}
    components = []
    for package in sorted((packages[id] for id in linked(metadata)), key=lambda p: (p["name"], p["version"])):
        name, version = package["name"], package["version"]
        component = {"type": "library", "name": name, "version": version, "purl": f"pkg:cargo/{name}@{version}"}
        if package["license"]:
            component["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
        if (name, version) in sums:
            component["hashes"] = [{"alg": "SHA-256", "content": sums[(name, version)]}]
        components.append(component)
    root = packages[metadata["resolve"]["root"]]
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
    for name, content in [("sbom.cdx.json", bill(metadata, time)), ("provenance.json", provenance(root, time))]:
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(content, file, indent=1, sort_keys=True)
            file.write("\n")
    print(f"{len(bill(metadata, time)['components'])} crates in {folder}/sbom.cdx.json, how it was made in provenance.json")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: attest.py ROOT FOLDER")
    os.environ["TZ"] = "UTC"
    main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]))
