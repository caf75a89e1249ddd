"""Merges what Kernelyard needs into Docker's daemon.json; everything else in it stays as it was.

Standard library only, Python 3.9 or newer: a remote host gets this file beside install.sh and nothing more.

The rules:
  1. Only keys that Kernelyard needs are looked at; no other key is changed or removed.
  2. `runtimes.runsc` is added when missing, and brought up to date when Kernelyard wrote it (its stamp says what).
     One that somebody else made is kept when it has the essential arguments (the others state defaults). Without them
     it is a conflict: other containers use it, and `--oci-seccomp` changes what they may do. `--adopt-runsc` says that
     adding the arguments is wanted. One that says the opposite of Kernelyard's is a conflict in any case, except for
     what is tolerated: other containers need `--network=sandbox`, which is as tight here (a sandbox has no network
     to join), but leaves sandboxes without a loopback interface.
  3. The checkpoint runtime is Kernelyard's own: the same program behind a script, always with Kernelyard's arguments.
  4. Further keys are set only where the operator has said nothing (neither in the file nor on the daemon's command
     line): `live-restore`, and on a dedicated host the hardening keys below.

Exit codes: 0 merged, 2 wrong use, 3 conflict (nothing written; standard error says what to do).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

# Docker applies these on SIGHUP, without a restart (dockerd reference, "Configuration reload behavior").
RELOADABLE = frozenset({"runtimes", "live-restore"})

# Sandboxes keep running while the daemon restarts.
SHARED_KEYS: Json = {"live-restore": True}

# For machines that serve Kernelyard alone: they change what every container of the machine gets.
DEDICATED_KEYS: Json = {
    "icc": False,
    "userland-proxy": False,
    "no-new-privileges": True,
    "log-driver": "json-file",
    "log-opts": {"max-size": "20m", "max-file": "5"},
    "default-ulimits": {"core": {"Name": "core", "Soft": 0, "Hard": 0}},
}


@dataclass(frozen=True)
class Wanted:
    runtime: str
    runtime_path: str
    runtime_arguments: tuple[str, ...]
    essential_arguments: tuple[str, ...] = ()
    # Somebody else's entry may say these instead; they are gVisor's defaults, so it may also say nothing.
    tolerated_arguments: tuple[str, ...] = ()
    # The runtime that saves and restores: its name and its program; no program, no such runtime.
    checkpoint_runtime: str = ""
    checkpoint_path: str = ""
    dedicated: bool = False
    adopt: bool = False
    # What Kernelyard itself wrote as the runtime entry last time, if anything.
    own_entry: Json | None = None
    # Keys that must not be set: given on the daemon's command line, or impossible here (live-restore in a swarm).
    untouched: frozenset[str] = frozenset()


@dataclass
class Plan:
    merged: Json
    changed: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)

    @property
    def apply(self) -> str:
        """What makes the daemon follow: `none`, `reload` (SIGHUP) or `restart`."""
        if not self.changed:
            return "none"
        tops = {key.split(".")[0] for key in self.changed}
        return "reload" if tops <= RELOADABLE else "restart"


def flag_of(argument: str) -> tuple[str, str]:
    """`--net-raw=false` → (`net-raw`, `false`); one or two dashes, a bare flag is `true`, as Go reads it."""
    name, separator, value = argument.lstrip("-").partition("=")
    return name, value if separator else "true"


def merge_runtime(entry: Json, wanted: Wanted) -> tuple[Json, list[str]]:
    """The entry that serves us, made from one that is there, and what speaks against it."""
    name = f"runtimes.{wanted.runtime}"
    if entry == wanted.own_entry:
        return {"path": wanted.runtime_path, "runtimeArgs": list(wanted.runtime_arguments)}, []
    if "path" not in entry:
        return entry, [f"{name} has no `path` (it names a shim): remove it or rename it."]
    present = [str(argument) for argument in entry.get("runtimeArgs") or []]
    flags = dict(flag_of(argument) for argument in present)
    tolerated = dict(flag_of(argument) for argument in wanted.tolerated_arguments)
    missing: list[str] = []
    conflicts: list[str] = []
    for argument in wanted.runtime_arguments:
        flag, value = flag_of(argument)
        if flag not in flags:
            if flag not in tolerated:
                missing.append(argument)
        elif flags[flag] not in (value, tolerated.get(flag)):
            conflicts.append(f"{name} says --{flag}={flags[flag]}, Kernelyard needs {argument}.")
    essential = [argument for argument in wanted.essential_arguments if argument in missing]
    if essential and not wanted.adopt:
        conflicts.append(
            f"{name} exists and was not made by Kernelyard. It lacks {' '.join(essential)}. "
            "If no other container depends on it, let Kernelyard add what is missing with --adopt-runsc."
        )
    if conflicts or not wanted.adopt:
        return entry, conflicts
    return ({**entry, "runtimeArgs": [*present, *missing]} if missing else entry), []


def plan(existing: Json, wanted: Wanted) -> Plan:
    """Pure: from the present file and what is wanted to the new file."""
    merged: Json = dict(existing)
    result = Plan(merged)
    runtimes = existing.get("runtimes", {})
    if not isinstance(runtimes, dict):
        result.conflicts.append("`runtimes` is not an object.")
        return result

    entry = runtimes.get(wanted.runtime)
    fresh: Json = {"path": wanted.runtime_path, "runtimeArgs": list(wanted.runtime_arguments)}
    if entry is None:
        new_entry = fresh
    elif isinstance(entry, dict):
        new_entry, conflicts = merge_runtime(entry, wanted)
        result.conflicts.extend(conflicts)
    else:
        result.conflicts.append(f"`runtimes.{wanted.runtime}` is not an object.")
        return result
    entries: Json = {wanted.runtime: new_entry}
    if wanted.checkpoint_path:
        entries[wanted.checkpoint_runtime] = {
            "path": wanted.checkpoint_path,
            "runtimeArgs": list(wanted.runtime_arguments),
        }
    for name, wanted_entry in entries.items():
        if wanted_entry != runtimes.get(name):
            merged["runtimes"] = {**merged.get("runtimes", {}), name: wanted_entry}
            result.changed.append(f"runtimes.{name}")

    keys = {**SHARED_KEYS, **(DEDICATED_KEYS if wanted.dedicated else {})}
    for key, value in keys.items():
        if key in existing or key in wanted.untouched:
            continue
        # The engine does not start with icc off and iptables off.
        if key == "icc" and existing.get("iptables") is False:
            continue
        # Options belong to their driver: never give ours to a driver that the operator chose.
        if key == "log-opts" and existing.get("log-driver", "json-file") != "json-file":
            continue
        merged[key] = value
        result.changed.append(key)
    return result


def is_loaded(info: str, name: str, expected: Json | None) -> bool:
    """Whether the running engine has the runtime as configured; `info` is the answer of GET /info."""
    try:
        runtimes = json.loads(info).get("Runtimes") or {}
    except ValueError:
        return False
    entry = runtimes.get(name)
    if entry is None or expected is None:
        return False
    have = [str(argument) for argument in entry.get("runtimeArgs") or []]
    want = [str(argument) for argument in expected.get("runtimeArgs") or []]
    return bool(entry.get("path") == expected.get("path") and have == want)


def read_object(path: str) -> Json:
    """A missing or empty file is an empty object."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    if not text.strip():
        return {}
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    return value


def write_durably(path: str, value: Json) -> None:
    temporary = f"{path}.kernelyard-new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Merge Kernelyard's needs into daemon.json.")
    parser.add_argument("--config", required=True, help="the daemon.json to read and write")
    parser.add_argument("--runtime", required=True, help="runtime.json: name, arguments, essential ones")
    parser.add_argument("--stamp", required=True, help="where the entry that Kernelyard wrote is remembered")
    parser.add_argument("--path", default="", help="program of the runtime")
    parser.add_argument("--checkpoint-path", default="", help="program of the runtime that saves and restores")
    parser.add_argument("--dedicated", action="store_true")
    parser.add_argument("--adopt-runsc", action="store_true")
    parser.add_argument("--untouched", default="", help="keys to leave alone, separated by commas")
    parser.add_argument("--show-path", action="store_true", help="print the present entry's program and end")
    parser.add_argument("--print-entry", action="store_true", help="print the runtime entries that are wanted and end")
    parser.add_argument("--loaded", action="store_true", help="exit 1 unless GET /info on stdin has the entries")
    parser.add_argument("--entry", default="", help="with --loaded: the entries to look for, else those in --config")
    parser.add_argument("--dry-run", action="store_true", help="print what would change, write nothing")
    options = parser.parse_args(arguments)
    try:
        existing = read_object(options.config)
    except (OSError, ValueError) as error:
        print(f"{options.config} cannot be read: {error}. Repair it, then run this again.", file=sys.stderr)
        return 3
    runtime = read_object(options.runtime)
    name = str(runtime["name"])
    checkpoint_name = str(runtime["checkpoint_name"])
    if options.show_path:
        runtimes = existing.get("runtimes")
        entry = runtimes.get(name) if isinstance(runtimes, dict) else None
        print(entry.get("path", "") if isinstance(entry, dict) else "")
        return 0
    if options.loaded:
        runtimes = read_object(options.entry) if options.entry else existing.get("runtimes") or {}
        info = sys.stdin.read()
        names = [name, *({checkpoint_name} & set(runtimes))]
        return 0 if all(is_loaded(info, each, runtimes.get(each)) for each in names) else 1
    if not options.path:
        parser.error("--path is needed")
    wanted = Wanted(
        runtime=name,
        runtime_path=options.path,
        runtime_arguments=tuple(str(argument) for argument in runtime["arguments"]),
        essential_arguments=tuple(str(argument) for argument in runtime["essential"]),
        tolerated_arguments=tuple(str(argument) for argument in runtime["tolerated"]),
        checkpoint_runtime=checkpoint_name,
        checkpoint_path=options.checkpoint_path,
        dedicated=options.dedicated,
        adopt=options.adopt_runsc,
        own_entry=read_object(options.stamp) or None,
        untouched=frozenset(options.untouched.split(",")) - {""},
    )
    if options.print_entry:
        print(json.dumps(plan({}, wanted).merged["runtimes"], indent=2))
        return 0
    result = plan(existing, wanted)
    if result.conflicts:
        print(f"{options.config} was left as it is:", file=sys.stderr)
        for conflict in result.conflicts:
            print(f"  - {conflict}", file=sys.stderr)
        return 3
    if result.changed and not options.dry_run:
        os.makedirs(os.path.dirname(options.config), exist_ok=True)
        write_durably(options.config, result.merged)
        if f"runtimes.{name}" in result.changed:
            write_durably(options.stamp, result.merged["runtimes"][name])
    print(result.apply)
    for key in result.changed:
        print(key)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
