/** Alarms on the canary, free slots, disks and the load balancer's view. About 0.10 USD a month each. */
import * as cloudwatch from "@pulumi/aws/cloudwatch/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/stack-config.ts";
import { nodesOf } from "./directory.ts";
import type { Entry } from "./entry.ts";
import { METRIC_NAMESPACE } from "./user-data.ts";

export interface AlarmsArgs {
  readonly prefix: string;
  readonly config: AwsConfig;
  readonly groupName: string;
  readonly entry: Entry;
  readonly provider: Provider;
}

export class Alarms extends pulumi.ComponentResource {
  constructor(name: string, args: AlarmsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:aws:Alarms", name, {}, opts);
    this.#unhealthy(name, args);
    this.#hosts(name, args);
    if (args.config.fleet !== null) this.#fleet(name, args);
    this.registerOutputs({});
  }

  #alarm(
    name: string,
    args: AlarmsArgs,
    purpose: string,
    alarm: Omit<cloudwatch.MetricAlarmArgs, "name" | "alarmActions" | "okActions">,
  ): void {
    const actions = args.config.alarmTopicArn === null ? [] : [args.config.alarmTopicArn];
    new cloudwatch.MetricAlarm(
      `${name}-${purpose}`,
      { ...alarm, name: `${args.prefix}-${purpose}`, alarmActions: actions, okActions: actions },
      { parent: this, provider: args.provider },
    );
  }

  #unhealthy(name: string, args: AlarmsArgs): void {
    this.#alarm(name, args, "no-healthy-host", {
      alarmDescription: "The load balancer has no host that executes code. Runbook: docs/deploy.md",
      namespace: "AWS/ApplicationELB",
      metricName: "HealthyHostCount",
      dimensions: {
        LoadBalancer: args.entry.loadBalancer.arnSuffix,
        TargetGroup: args.entry.targetGroup.arnSuffix,
      },
      statistic: "Maximum",
      period: 60,
      evaluationPeriods: 3,
      comparisonOperator: "LessThanThreshold",
      threshold: 1,
      treatMissingData: "notBreaching",
    });
  }

  #hosts(name: string, args: AlarmsArgs): void {
    const ours = {
      namespace: METRIC_NAMESPACE,
      dimensions: { Group: args.groupName },
      period: 60,
      evaluationPeriods: 5,
    };
    this.#alarm(name, args, "canary", {
      ...ours,
      alarmDescription: "A host does not execute code",
      metricName: "CanaryFailed",
      statistic: "Maximum",
      comparisonOperator: "GreaterThanThreshold",
      threshold: 0,
      // Made after the hosts, when there are numbers: silence is a failure.
      treatMissingData: "breaching",
    });
    this.#alarm(name, args, "slots", {
      ...ours,
      alarmDescription: "A host has no room for another sandbox",
      metricName: "SlotsFree",
      statistic: "Minimum",
      comparisonOperator: "LessThanThreshold",
      threshold: 1,
      treatMissingData: "missing",
    });
    this.#alarm(name, args, "disk", {
      ...ours,
      alarmDescription: "A host's disk is nearly full",
      metricName: "DiskUsed",
      statistic: "Maximum",
      comparisonOperator: "GreaterThanThreshold",
      threshold: 85,
      treatMissingData: "missing",
    });
  }

  #fleet(name: string, args: AlarmsArgs): void {
    this.#alarm(name, args, "fleet-away", {
      // As the table of alerts says it (monitoring/alerts.ts); a test holds them together.
      alarmDescription:
        "This host takes no part in its fleet: calls of sessions are refused. Runbook: docs/runbooks.md",
      namespace: METRIC_NAMESPACE,
      metricName: "FleetAway",
      dimensions: { Group: args.groupName },
      statistic: "Maximum",
      period: 60,
      evaluationPeriods: 3,
      comparisonOperator: "GreaterThanThreshold",
      threshold: 0,
      treatMissingData: "missing",
    });
    for (const [index, node] of nodesOf(args.prefix).entries()) {
      this.#alarm(name, args, `directory-memory-${index + 1}`, {
        alarmDescription:
          "The directory of sessions is nearly full; then no session begins. A larger kernelyard:valkeyNodeType",
        namespace: "AWS/ElastiCache",
        metricName: "DatabaseMemoryUsagePercentage",
        dimensions: { CacheClusterId: node },
        statistic: "Maximum",
        period: 60,
        evaluationPeriods: 5,
        comparisonOperator: "GreaterThanThreshold",
        threshold: 80,
        treatMissingData: "missing",
      });
    }
  }
}
