/**
 * The conditions of alerts that one look at the figures can tell, by the alerts' own names; a test compares them with `monitoring/`. What comes and goes
 * in daily work (no spare sandbox for a moment, one that is being made) is not among them.
 */
import type { Reading } from "../metrics/metrics.ts";

export interface Condition {
  /** The alert's. */
  readonly alert: string;
  readonly severity: "page" | "ticket";
  readonly en: string;
  readonly ja: string;
  readonly holds: (figures: Reading) => boolean;
}

const is = (name: Parameters<Reading["value"]>[0], wanted: number) => (figures: Reading) =>
  figures.value(name) === wanted;
/** Of two figures that are both known. */
const share =
  (part: Parameters<Reading["value"]>[0], whole: Parameters<Reading["value"]>[0], most: number) =>
  (figures: Reading) => {
    const [a, b] = [figures.value(part), figures.value(whole)];
    return a !== null && b !== null && b > 0 && a / b > most;
  };
const above = (name: Parameters<Reading["value"]>[0], most: number) => (figures: Reading) =>
  (figures.value(name) ?? 0) > most;

export const CONDITIONS: readonly Condition[] = [
  {
    alert: "KernelyardFleetAway",
    severity: "page",
    en: "This host takes no part in its fleet: calls of sessions are refused.",
    ja: "このホストはフリートに参加していません。セッションの呼び出しは拒否されます。",
    holds: is("kernelyard_fleet_member", 0),
  },
  {
    alert: "KernelyardNotExecuting",
    severity: "page",
    en: "The host does not execute code.",
    ja: "ホストがコードを実行していません。",
    holds: (figures) =>
      is("kernelyard_canary_ok", 0)(figures) || above("kernelyard_canary_age_seconds", 600)(figures),
  },
  {
    alert: "KernelyardLauncherAway",
    severity: "page",
    en: "The launcher does not answer the gateway.",
    ja: "ランチャーがゲートウェイに応答しません。",
    holds: is("kernelyard_launcher_up", 0),
  },
  {
    alert: "KernelyardEngineAway",
    severity: "page",
    en: "The container engine does not answer the launcher.",
    ja: "コンテナエンジンがランチャーに応答しません。",
    holds: (figures) => is("kernelyard_engine_up", 0)(figures) && is("kernelyard_launcher_up", 1)(figures),
  },
  {
    alert: "KernelyardDiskFull",
    severity: "page",
    en: "The disk has no room for another session beside its reserve: none begins.",
    ja: "ディスクに、予備領域のほかにはセッション 1 つ分の空きもありません。セッションを始められません。",
    holds: (figures) => {
      const [free, reserve, session] = [
        figures.value("kernelyard_disk_free_bytes"),
        figures.value("kernelyard_disk_reserve_bytes"),
        figures.value("kernelyard_session_disk_bytes"),
      ];
      return free !== null && reserve !== null && free <= reserve + (session ?? 0);
    },
  },
  {
    alert: "KernelyardVolumesBroken",
    severity: "page",
    en: "Sessions cannot have their volumes.",
    ja: "セッションがボリュームを使えません。",
    holds: is("kernelyard_session_volumes_ok", 0),
  },
  {
    alert: "KernelyardFilesNearLimit",
    severity: "ticket",
    en: "Stored files have used nine tenths of their limit.",
    ja: "保存されたファイルが、上限の 9 割に達しました。",
    holds: share("kernelyard_files_bytes", "kernelyard_files_limit_bytes", 0.9),
  },
  {
    alert: "KernelyardNoDiskQuota",
    severity: "ticket",
    en: "Session volumes have no hard size on this host.",
    ja: "このホストでは、セッションのボリュームの大きさが強制されません。",
    holds: is("kernelyard_session_disk_quota", 0),
  },
  {
    alert: "KernelyardUnsafe",
    severity: "ticket",
    en: "Code shares the host's kernel.",
    ja: "コードがホストのカーネルを共有しています。",
    holds: (figures) =>
      figures.series("kernelyard_info").some(({ labels }) => labels.isolation === "runc-unsafe"),
  },
  {
    alert: "KernelyardGatewayStalls",
    severity: "ticket",
    en: "The gateway is too busy to answer in time.",
    ja: "ゲートウェイの負荷が高く、応答が遅れています。",
    holds: above("kernelyard_event_loop_delay_seconds", 0.25),
  },
  {
    alert: "KernelyardRequestMemory",
    severity: "ticket",
    en: "Requests have used the memory that is theirs.",
    ja: "リクエスト用のメモリが、ほぼ使い切られています。",
    holds: share("kernelyard_request_memory_bytes", "kernelyard_request_memory_limit_bytes", 0.7),
  },
];
