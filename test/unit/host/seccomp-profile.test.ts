import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { SHIPPED_SECCOMP_PROFILE } from "../../../gateway/host/isolation.ts";
import { Derivation, derive, Profile } from "../../../gateway/host/seccomp/derive.ts";

const profile = Profile.parse(JSON.parse(SHIPPED_SECCOMP_PROFILE));
const derivation = Derivation.parse(
  JSON.parse(
    readFileSync(join(import.meta.dirname, "../../../gateway/host/seccomp/derivation.json"), "utf8"),
  ),
);
const removed = derivation.removed.flatMap((group) => group.names);
const allowed = profile.syscalls.filter((rule) => rule.action === "SCMP_ACT_ALLOW");
const unconditional = new Set(
  allowed.filter((rule) => (rule.args ?? []).length === 0).flatMap((rule) => rule.names),
);

describe("the shipped profile", () => {
  test("refuses by default, and every rule only allows", () => {
    expect(profile.defaultAction).toBe("SCMP_ACT_ERRNO");
    expect(allowed).toHaveLength(profile.syscalls.length);
  });

  test("no rule allows a removed name", () => {
    const names = new Set(profile.syscalls.flatMap((rule) => rule.names));
    expect(removed.filter((name) => names.has(name))).toEqual([]);
  });

  test.each([
    ..."keyctl add_key request_key unshare setns ptrace bpf mount umount2 userfaultfd perf_event_open".split(
      " ",
    ),
    ..."io_uring_setup io_uring_enter process_vm_readv process_vm_writev kexec_load kexec_file_load".split(
      " ",
    ),
    ..."init_module finit_module delete_module pivot_root chroot open_by_handle_at reboot swapon syslog".split(
      " ",
    ),
  ])("%s is refused, and its removal has a reason", (name) => {
    expect(profile.syscalls.flatMap((rule) => rule.names)).not.toContain(name);
    expect(removed).toContain(name);
  });

  test("no rule depends on a capability or on the kernel's version", () => {
    for (const rule of profile.syscalls) {
      for (const condition of [rule.includes, rule.excludes]) {
        expect(condition?.caps).toBeUndefined();
        expect(condition?.minKernel).toBeUndefined();
      }
    }
  });

  test("knows every architecture that the engine knows", () => {
    expect(profile.archMap.map((entry) => entry.architecture).sort()).toEqual(
      [
        "AARCH64",
        "LOONGARCH64",
        "MIPS64",
        "MIPS64N32",
        "MIPSEL64",
        "MIPSEL64N32",
        "RISCV64",
        "S390X",
        "X86_64",
      ].map((name) => `SCMP_ARCH_${name}`),
    );
  });

  test("threads can start: clone3 is allowed outright, clone without new namespaces", () => {
    expect(unconditional).toContain("clone3");
    expect(unconditional).not.toContain("clone");
    const clone = allowed.filter((rule) => rule.names.includes("clone"));
    expect(clone).toHaveLength(2);
    for (const rule of clone) {
      expect(rule.args).toEqual([expect.objectContaining({ op: "SCMP_CMP_MASKED_EQ", value: 0x7e020000 })]);
    }
  });

  test("sockets are local, INET, INET6 and netlink only", () => {
    const rules = allowed.filter((rule) => rule.names.includes("socket"));
    expect(rules.flatMap((rule) => (rule.args ?? []).map((a) => `${a.op} ${a.value}`))).toEqual([
      "SCMP_CMP_LT 3",
      "SCMP_CMP_EQ 10",
      "SCMP_CMP_EQ 16",
    ]);
    expect(unconditional).not.toContain("socketcall");
  });
});

describe("the derivation", () => {
  const source = (syscalls: Profile["syscalls"]): Profile => ({
    defaultAction: "SCMP_ACT_ERRNO",
    archMap: [],
    syscalls,
  });

  test("takes away names, rules of capabilities and refusals with another errno", () => {
    const derived = derive(
      source([
        { names: ["read", "ptrace", "io_setup"], action: "SCMP_ACT_ALLOW" },
        { names: ["mount", "sethostname2"], action: "SCMP_ACT_ALLOW", includes: { caps: ["CAP_SYS_ADMIN"] } },
        { names: ["ptrace2"], action: "SCMP_ACT_ALLOW", includes: { minKernel: "4.8" } },
        { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 },
      ]),
      derivation,
    );
    expect(derived.syscalls).toEqual([{ names: ["clone3", "read"], action: "SCMP_ACT_ALLOW" }]);
  });

  test("a source that allows by default, or has an action nobody thought of, is refused", () => {
    expect(() => derive({ ...source([]), defaultAction: "SCMP_ACT_ALLOW" }, derivation)).toThrow(
      "refuse by default",
    );
    const trace = [{ names: ["read"], action: "SCMP_ACT_TRACE" }];
    expect(() => derive(source(trace), derivation)).toThrow("SCMP_ACT_TRACE");
  });
});
