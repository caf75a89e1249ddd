/** `docs/runbooks.md` and `docs/ja/runbooks.md`, made from the alerts by `npm run generate`. */
import { ALERTS, type Alert } from "./alerts.ts";
import { JA } from "./ja.ts";

/** What stands around an alert's own sentences, in one language. */
interface Frame {
  readonly title: string;
  readonly otherLanguage: string;
  readonly intro: readonly string[];
  readonly columns: string;
  readonly severity: Readonly<Record<Alert["severity"], string>>;
  /** `lasting`: in Prometheus' own form, `0m` where it fires at once. */
  readonly fires: (expr: string, lasting: string) => string;
  readonly means: string;
  readonly look: string;
  readonly shows: (what: string) => string;
  readonly act: string;
  readonly over: (when: string) => string;
  /** An alert's sentence in this language. */
  readonly say: (sentence: string) => string;
}

const ENGLISH: Frame = {
  title: "Runbooks",
  otherLanguage: "[日本語](ja/runbooks.md)",
  intro: [
    "One for each alert of `monitoring/kernelyard.rules.yaml`. Commands only look, and are run as they stand by a test; put your API key in",
    "the place of `KEY`, and your own ports and data directory where you changed them. In a deployment, metrics and health are those of the",
    "gateway's container. The services log to standard output: `npm start` keeps that as `gateway.log` and `launcher.log` in the data",
    "directory, containers in `docker logs`, hosts in AWS in CloudWatch. `docs/monitoring.md` says how Prometheus gets all this.",
  ],
  columns: "| alert | | |",
  severity: {
    page: "**Page**: callers notice now.",
    ticket: "**Ticket**: during working hours.",
  },
  fires: (expr, lasting) => `Fires when \`${expr}\`${lasting === "0m" ? "" : `, for ${lasting}`}.`,
  means: "**What it means.**",
  look: "**How to see it**, on the host:",
  shows: (what) => `Look for: ${what}.`,
  act: "**What to do**",
  over: (when) => `**It is over** when: ${when.charAt(0).toLowerCase()}${when.slice(1)}`,
  say: (sentence) => sentence,
};

const JAPANESE: Frame = {
  title: "手順書",
  otherLanguage: "[English](../runbooks.md)",
  intro: [
    "`monitoring/kernelyard.rules.yaml` のアラートごとに 1 つの手順があります。コマンドはどれも確認するだけで、書かれたとおりにテストで実行されています。`KEY` は自分の API キーに、ポートとデータディレクトリは、変更している場合は自分の値に読み替えてください。デプロイ環境では、メトリクスとヘルスはゲートウェイのコンテナのものです。各サービスは標準出力にログを書きます。`npm start` はそれをデータディレクトリの `gateway.log` と `launcher.log` に保存します。コンテナでは `docker logs`、AWS のホストでは CloudWatch で読めます。Prometheus がこれらの値を取得する方法は `docs/monitoring.md` にあります。",
  ],
  columns: "| アラート | | |",
  severity: {
    page: "**Page**（呼び出し）: 利用者に今、影響が出ています。",
    ticket: "**Ticket**（チケット）: 業務時間内に対処します。",
  },
  fires: (expr, lasting) =>
    lasting === "0m"
      ? `\`${expr}\` になると発報します。`
      : `\`${expr}\` が ${lasting.replace("m", " 分間")}続くと発報します。`,
  means: "**意味**:",
  look: "**確認方法**（ホスト上で実行します）",
  shows: (what) => `見る点: ${what}。`,
  act: "**対処**",
  over: (when) => `**解決の条件**: ${when}`,
  say: japanese,
};

const SENTENCES: Readonly<Record<string, string>> = JA;

/** The type checker has seen to it that there is one; without it, as `npm run generate` runs, the sentence is named. */
export function japanese(sentence: string): string {
  const translated = SENTENCES[sentence];
  if (translated === undefined) throw new Error(`monitoring/ja.ts has no translation of: ${sentence}`);
  return translated;
}

function chapter(frame: Frame, alert: Alert): string {
  const { name, severity, expr, for: lasting, summary, means, look, act, over } = alert;
  const { say } = frame;
  return [
    `## ${name}`,
    "",
    `${say(summary)} ${frame.severity[severity]}`,
    "",
    frame.fires(expr, lasting),
    "",
    `${frame.means} ${say(means)}`,
    "",
    frame.look,
    "",
    ...look.flatMap(({ command, shows }) => ["```sh", command, "```", "", frame.shows(say(shows)), ""]),
    frame.act,
    "",
    ...act.map((step) => `- ${say(step)}`),
    "",
    frame.over(say(over)),
    "",
  ].join("\n");
}

function document(frame: Frame): string {
  const rows = ALERTS.map(
    ({ name, severity, summary }) =>
      `| [${name}](#${name.toLowerCase()}) | ${severity} | ${frame.say(summary)} |`,
  );
  return [
    `# ${frame.title}`,
    "",
    frame.otherLanguage,
    "",
    ...frame.intro,
    "",
    frame.columns,
    "|---|---|---|",
    ...rows,
    "",
    ALERTS.map((alert) => chapter(frame, alert)).join("\n"),
  ].join("\n");
}

export const runbooksDocument = (): string => document(ENGLISH);
export const japaneseRunbooksDocument = (): string => document(JAPANESE);
