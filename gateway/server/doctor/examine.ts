/** What the running service can find out about itself: what its launcher says of the host, and what a call meets in a sandbox. */
import type { LauncherHealth } from "../../common/protocol/launcher-api.ts";
import { INSTALL_COMMAND, SHIPPED_SECCOMP_SHA256 } from "../../host/isolation.ts";
import {
  Confinement,
  confinementFindings,
  diskFinding,
  type Finding,
  missing,
  ok,
  weaker,
} from "./findings.ts";
import { answerOf } from "./probe.ts";

/** `stdout`: of the probe in a sandbox; null when it could not be run. `sessionDiskBytes`: of one session volume. */
export function examine(
  launcher: LauncherHealth | null,
  stdout: string | null,
  sessionDiskBytes: number,
): Finding[] {
  if (launcher === null) {
    return [
      missing("launcher", "it does not answer the gateway", "read the launcher's log, and start it again"),
    ];
  }
  const answer = stdout === null ? null : answerOf(stdout, Confinement);
  return [
    ...hostFindings(launcher, sessionDiskBytes),
    ...(answer === null
      ? [missing("probe sandbox", "code could not be run in it", "npm run doctor")]
      : confinementFindings(answer, launcher.isolation)),
  ];
}

function hostFindings(launcher: LauncherHealth, sessionDiskBytes: number): Finding[] {
  const { checkpoints, disk, engine, profiles } = launcher;
  const findings = [
    engine.state === "ok"
      ? ok("engine", `Docker ${engine.version}`)
      : missing("engine", engine.message, INSTALL_COMMAND),
    launcher.isolation === "runsc"
      ? ok("runtime", `gVisor, ${launcher.runtime_version}`)
      : weaker("runtime", "runc: code shares the host's kernel", "unset KERNELYARD_ISOLATION"),
    launcher.seccomp_sha256 === SHIPPED_SECCOMP_SHA256
      ? ok("seccomp profile", `the shipped one, sha256 ${SHIPPED_SECCOMP_SHA256.slice(0, 12)}`)
      : missing("seccomp profile", "not the shipped one", INSTALL_COMMAND),
    launcher.session_volume_problem !== null
      ? missing("session volumes", launcher.session_volume_problem, "npm run doctor")
      : launcher.session_disk_quota === "loop"
        ? ok("session volumes", "a hard size, by an ext4 image behind a loop device")
        : weaker("session volumes", "no hard size: loop devices are missing", "modprobe loop"),
  ];
  if (disk !== null) {
    const space = { totalBytes: disk.total, freeBytes: disk.free, reserveBytes: disk.reserve };
    const spare = Math.floor((disk.free - disk.reserve) / sessionDiskBytes);
    findings.push(diskFinding(space, Math.max(0, spare)));
  }
  findings.push(
    checkpoints.state === "off"
      ? ok("checkpoints", checkpoints.reason ?? "off")
      : checkpoints.state === "on"
        ? ok("checkpoints", `sessions sleep; ${checkpoints.restored} restored, ${checkpoints.failed} failed`)
        : weaker("checkpoints", checkpoints.reason ?? "not ready yet", "wait a minute and look again"),
  );
  for (const { digest, name } of profiles) findings.push(ok(`image, profile ${name}`, digest.slice(0, 19)));
  return findings;
}
