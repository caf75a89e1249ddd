/** Dashboards as data, and as Grafana reads them. */
import {
  BigValueColorMode,
  BigValueGraphMode,
  LegendDisplayMode,
  LegendPlacement,
  ReduceDataOptionsBuilder,
  StackingConfigBuilder,
  StackingMode,
  TooltipDisplayMode,
  VizLegendOptionsBuilder,
  VizTooltipOptionsBuilder,
} from "@grafana/grafana-foundation-sdk/common";
import {
  DashboardBuilder,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  QueryVariableBuilder,
  RowBuilder,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as SeriesBuilder } from "@grafana/grafana-foundation-sdk/timeseries";

export interface Query {
  /** Asks for `HOSTS` alone; rates are over `$__rate_interval`. */
  readonly expr: string;
  readonly legend: string;
}

export interface Panel {
  readonly title: string;
  /** What a good and a bad picture look like. */
  readonly about: string;
  /** Grafana's id of a unit. */
  readonly unit: string;
  readonly queries: readonly Query[];
  /** `stat`: one number now. `stacked`: parts of a whole. */
  readonly kind?: "stat" | "stacked";
  /** Of a `stat`: green below, orange from the first on, red from the second; the other way round when they fall. */
  readonly limits?: readonly [warning: number, bad: number];
}

export interface Dashboard {
  readonly uid: string;
  readonly title: string;
  readonly about: string;
  readonly rows: readonly { readonly title: string; readonly panels: readonly Panel[] }[];
}

/** The hosts that whoever looks has chosen. */
export const HOSTS = 'instance=~"$instance"';
const SOURCE = { type: "prometheus", uid: "$source" };
const TAG = "kernelyard";
const STAT_WIDTH = 4;
const SERIES_WIDTH = 8;
const STAT_HEIGHT = 4;
const SERIES_HEIGHT = 8;

function thresholds([warning, bad]: readonly [number, number]): ThresholdsConfigBuilder {
  const rising = warning <= bad;
  const steps = rising
    ? [
        { color: "green", value: null },
        { color: "orange", value: warning },
        { color: "red", value: bad },
      ]
    : [
        { color: "red", value: null },
        { color: "orange", value: bad },
        { color: "green", value: warning },
      ];
  return new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(steps);
}

function targets({ queries }: Panel): DataqueryBuilder[] {
  return queries.map(({ expr, legend }, index) =>
    new DataqueryBuilder()
      .refId(String.fromCharCode(65 + index))
      .expr(expr)
      .legendFormat(legend)
      .range(),
  );
}

function stat(panel: Panel): StatBuilder {
  const built = new StatBuilder()
    .title(panel.title)
    .description(panel.about)
    .datasource(SOURCE)
    .unit(panel.unit)
    .height(STAT_HEIGHT)
    .span(STAT_WIDTH)
    .graphMode(BigValueGraphMode.Area)
    .colorMode(panel.limits === undefined ? BigValueColorMode.None : BigValueColorMode.Value)
    .reduceOptions(new ReduceDataOptionsBuilder().calcs(["lastNotNull"]))
    .targets(targets(panel));
  return panel.limits === undefined ? built : built.thresholds(thresholds(panel.limits));
}

function series(panel: Panel): SeriesBuilder {
  const built = new SeriesBuilder()
    .title(panel.title)
    .description(panel.about)
    .datasource(SOURCE)
    .unit(panel.unit)
    .min(0)
    .height(SERIES_HEIGHT)
    .span(SERIES_WIDTH)
    .legend(
      new VizLegendOptionsBuilder()
        .showLegend(true)
        .displayMode(LegendDisplayMode.List)
        .placement(LegendPlacement.Bottom),
    )
    .tooltip(new VizTooltipOptionsBuilder().mode(TooltipDisplayMode.Multi))
    .targets(targets(panel));
  if (panel.kind !== "stacked") return built.fillOpacity(8);
  return built.fillOpacity(40).stacking(new StackingConfigBuilder().mode(StackingMode.Normal));
}

/** The file's text. */
export function dashboardFile({ uid, title, about, rows }: Dashboard): string {
  const source = new DatasourceVariableBuilder("source").label("Prometheus").type("prometheus");
  const instance = new QueryVariableBuilder("instance")
    .label("Host")
    .datasource(SOURCE)
    .query('label_values(up{job="kernelyard"}, instance)')
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .multi(true)
    .includeAll(true)
    .allValue(".*");
  const others = new DashboardLinkBuilder("Kernelyard")
    .type(DashboardLinkType.Dashboards)
    .tags([TAG])
    .asDropdown(true)
    .keepTime(true)
    .includeVars(true);
  const dashboard = new DashboardBuilder(title)
    .uid(uid)
    .description(about)
    .tags([TAG])
    .refresh("30s")
    .time({ from: "now-3h", to: "now" })
    .timezone("browser")
    .withVariable(source)
    .withVariable(instance)
    .link(others);
  for (const { title: row, panels } of rows) {
    dashboard.withRow(new RowBuilder(row));
    for (const panel of panels) dashboard.withPanel(panel.kind === "stat" ? stat(panel) : series(panel));
  }
  return `${JSON.stringify(dashboard.build(), null, 2)}\n`;
}
