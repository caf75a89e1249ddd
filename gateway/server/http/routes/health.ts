/** `GET /health`: 200 `OK` when code has just been executed in a real sandbox, 503 otherwise. */
import { z } from "@hono/zod-openapi";
import { CheckpointHealth, type LauncherHealth } from "../../../common/protocol/launcher-api.ts";
import type { AppContext, AppDeps, Route } from "../context.ts";

export const HealthDetail = z
  .object({
    status: z.enum(["ok", "host_full", "unhealthy"]).openapi({
      description: "`host_full`: code is executed, in every place that there is; new calls wait.",
    }),
    problem: z.string().nullable(),
    /** `runc-unsafe` shares the host's kernel with the code. */
    isolation: z.enum(["runsc", "runc-unsafe"]).nullable(),
    warnings: z.array(z.string()),
    engine: z.object({ state: z.enum(["ok", "away", "unknown"]), version: z.string().nullable() }),
    runtime_version: z.string().nullable(),
    seccomp_sha256: z.string().nullable(),
    session_disk_quota: z.enum(["loop", "none"]).nullable(),
    disk: z
      .object({ total_bytes: z.number(), free_bytes: z.number(), reserve_bytes: z.number() })
      .nullable()
      .openapi({
        description: "Of the session volumes' disk; nothing new is taken when only the reserve is free.",
      }),
    files: z
      .object({ stored: z.number().int(), bytes: z.number(), limit_bytes: z.number().nullable() })
      .nullable()
      .openapi({ description: "Of a store on the disk; a bucket is not counted for this." }),
    images: z.array(z.object({ name: z.string(), image: z.string(), digest: z.string() })),
    languages: z.array(z.object({ id: z.string(), version: z.string() })),
    sandboxes: z.number().int().nullable(),
    capacity: z.number().int().nullable(),
    /** Whether sandboxes are made from checkpoints and sessions sleep, how many do, and why not. */
    checkpoints: CheckpointHealth.nullable(),
    fleet: z
      .object({
        host: z.string(),
        problem: z.string().nullable(),
        hosts: z.array(
          z.object({
            id: z.string(),
            state: z.enum(["up", "draining"]),
            address: z.string(),
            free: z.number().int(),
            sessions: z.number().int(),
          }),
        ),
      })
      .nullable()
      .openapi({
        description: "Hosts that share sessions, as they last said; null where this one is alone.",
      }),
    canary: z.object({ at: z.string(), duration_ms: z.number(), ok: z.boolean() }).nullable(),
  })
  .openapi("Health");

const HealthBrief = HealthDetail.pick({ status: true }).openapi("HealthBrief");

/** As `gateway/image/drain.ts` reads them. */
const STAYS = { draining: "Draining", drained: "Drained" } as const;

const UNSAFE = "Code shares the host's kernel (KERNELYARD_ISOLATION=runc-unsafe): run trusted code only";
const NO_QUOTA = "Session volumes have no hard size: loop devices are missing on this host";

const NO_VOLUMES = "Session volumes do not work at present; the launcher's log says why";
const DISK_FULL =
  "Only the disk's reserve is free (KERNELYARD_DISK_RESERVE): no new files and session volumes are taken";
const DISK_PROMISED =
  "The disk bounds how many sessions are awake, not memory: each is promised KERNELYARD_SESSION_DISK whole. Free space on the disk, or set less";

async function filesOf({ files, settings }: AppDeps): Promise<z.infer<typeof HealthDetail>["files"]> {
  if (settings.fileStore !== "disk") return null;
  const used = await files.usage(null).catch(() => null);
  return used === null
    ? null
    : { stored: used.files, bytes: used.bytes, limit_bytes: settings.filesTotalBytes };
}

function diskOf(launcher: LauncherHealth | null): z.infer<typeof HealthDetail>["disk"] {
  if (launcher === null || launcher.disk === null) return null;
  const { total, free, reserve } = launcher.disk;
  return { total_bytes: total, free_bytes: free, reserve_bytes: reserve };
}

/** A fleet that does not answer makes no host sick: what needs no session is served on. */
function fleetOf({ fleet }: AppDeps): z.infer<typeof HealthDetail>["fleet"] {
  if (fleet === null) return null;
  const { host, hosts, problem } = fleet;
  const shown = hosts.map(({ addr, free, id, sessions, state }) => ({
    id,
    state,
    address: addr,
    free,
    sessions,
  }));
  return { host, problem, hosts: shown };
}

export function healthRoute(deps: AppDeps): Route {
  return {
    spec: {
      method: "get",
      path: "/health",
      summary: "Has this service just executed code?",
      description:
        "`?detail` or `Accept: application/json` gives the parts to who proves who they are, and the status alone to others.",
      request: { query: z.object({ detail: z.string().optional() }) },
      responses: {
        200: {
          description: "It has.",
          content: {
            "text/plain": { schema: z.string() },
            "application/json": { schema: z.union([HealthDetail, HealthBrief]) },
          },
        },
        503: { description: "It could not.", content: { "text/plain": { schema: z.string() } } },
      },
    },
    access: "open",
    async handle(c: AppContext): Promise<Response> {
      const detailed =
        c.req.query("detail") !== undefined || (c.req.header("accept") ?? "").includes("application/json");
      c.header("Cache-Control", "no-store");
      if (deps.inFlight.stopping) return c.text("Service Unavailable", 503);
      // Whatever comes all the same is passed on to the others.
      const stay = deps.fleet?.stay ?? "here";
      if (!detailed && stay !== "here") return c.text(STAYS[stay], 503);
      if (!detailed) {
        return (await deps.health.healthy()) ? c.text("OK") : c.text("Service Unavailable", 503);
      }
      const { state, problem, lastCanary, launcher } = await deps.health.report();
      const decision = await deps.authentication.decide((name) => c.req.header(name));
      if (decision.kind !== "accepted") {
        return c.json(
          { status: state } satisfies z.infer<typeof HealthBrief>,
          state === "unhealthy" ? 503 : 200,
        );
      }
      const warnings: string[] = [];
      if (launcher?.isolation === "runc-unsafe") warnings.push(UNSAFE);
      if (launcher?.session_disk_quota === "none") warnings.push(NO_QUOTA);
      const apart = deps.fleet?.problem ?? null;
      if (apart !== null) warnings.push(`This host takes no part in its fleet: ${apart}`);
      const noVolumes = launcher?.session_volume_problem ?? null;
      if (noVolumes !== null) warnings.push(NO_VOLUMES);
      const { disk = null } = launcher ?? {};
      if (disk !== null && disk.free < disk.reserve) warnings.push(DISK_FULL);
      else if (launcher?.disk_promised === true) warnings.push(DISK_PROMISED);
      const body: z.infer<typeof HealthDetail> = {
        status: state,
        problem,
        isolation: launcher?.isolation ?? null,
        warnings,
        engine: {
          state: launcher?.engine.state ?? "unknown",
          version: launcher?.engine.state === "ok" ? launcher.engine.version : null,
        },
        runtime_version: launcher?.runtime_version ?? null,
        seccomp_sha256: launcher?.seccomp_sha256 ?? null,
        session_disk_quota: launcher?.session_disk_quota ?? null,
        disk: diskOf(launcher),
        files: await filesOf(deps),
        images: [...(launcher?.profiles ?? [])],
        languages: [...deps.executor.languages()],
        sandboxes: launcher?.sandboxes ?? null,
        capacity: launcher?.capacity ?? null,
        checkpoints: launcher?.checkpoints ?? null,
        fleet: fleetOf(deps),
        canary:
          lastCanary === null
            ? null
            : { at: lastCanary.at, duration_ms: lastCanary.durationMs, ok: lastCanary.ok },
      };
      return c.json(body, state === "unhealthy" ? 503 : 200);
    },
  };
}
