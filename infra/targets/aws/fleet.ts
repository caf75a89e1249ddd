/** The hosts: a launch template and an auto scaling group that replaces them before it lets the old ones go. */
import * as autoscaling from "@pulumi/aws/autoscaling/index.js";
import * as ec2 from "@pulumi/aws/ec2/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/stack-config.ts";
import { longestCallMs } from "../../services/environment.ts";
import { deregistrationSeconds } from "./entry.ts";
import { MEMORY_GIVEN_PERCENT, WARMUP_SECONDS } from "./scaling.ts";
import { METRIC_NAMESPACE } from "./user-data.ts";

export interface FleetArgs {
  readonly config: AwsConfig;
  readonly groupName: string;
  readonly userData: pulumi.Output<string>;
  readonly instanceProfileArn: pulumi.Output<string>;
  readonly securityGroupId: pulumi.Output<string>;
  readonly subnetIds: pulumi.Output<string[]>;
  readonly targetGroupArn: pulumi.Output<string>;
  readonly kmsKeyArn: pulumi.Output<string>;
  /** The service role that the key lets encrypt the hosts' disks. */
  readonly scalingRoleArn: pulumi.Output<string>;
  /** At the most, from the group's word that a host goes to the host's that it may. */
  readonly drainSeconds: number;
  readonly provider: Provider;
}

/** A host has this long to execute its first code. */
const LAUNCH_SECONDS = 1200;
/** A host that drains says once a minute that it still does; silent for so long, it is taken away. */
const SILENT_SECONDS = 300;
const DAY_SECONDS = 86_400;

/** From the end of its terminate hook on, and all that comes late. */
const SHUTDOWN_SECONDS = 600;

/** Pure: how long the group may take to let a host go, in seconds: no new calls, then it drains and shuts down. */
export const goneSeconds = (longestMs: number, drainSeconds: number): number =>
  deregistrationSeconds(longestMs) + drainSeconds + SHUTDOWN_SECONDS;

export class Fleet extends pulumi.ComponentResource {
  readonly template: ec2.LaunchTemplate;
  readonly group: autoscaling.Group;

  constructor(name: string, args: FleetArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:aws:Fleet", name, {}, opts);
    const options = { parent: this, provider: args.provider };
    this.template = this.#template(name, args, options);
    this.group = this.#group(name, args, options);
    if (args.config.hostCountMax !== null) this.#scaling(name, options);
    this.registerOutputs({ groupName: this.group.name });
  }

  /** Hosts follow the memory that sandboxes were given. One that goes drains first, by the terminate hook. */
  #scaling(name: string, options: pulumi.CustomResourceOptions): void {
    new autoscaling.Policy(
      `${name}-memory`,
      {
        autoscalingGroupName: this.group.name,
        policyType: "TargetTrackingScaling",
        estimatedInstanceWarmup: WARMUP_SECONDS,
        targetTrackingConfiguration: {
          customizedMetricSpecification: {
            namespace: METRIC_NAMESPACE,
            metricName: "MemoryGiven",
            statistic: "Average",
            metricDimensions: [{ name: "Group", value: this.group.name }],
          },
          targetValue: MEMORY_GIVEN_PERCENT,
        },
      },
      options,
    );
  }

  #template(name: string, args: FleetArgs, options: pulumi.CustomResourceOptions): ec2.LaunchTemplate {
    const { config } = args;
    const image = config.imageParameter;
    return new ec2.LaunchTemplate(
      `${name}-template`,
      {
        imageId: image.startsWith("ami-") ? image : `resolve:ssm:${image}`,
        instanceType: config.instanceType,
        updateDefaultVersion: true,
        // Tokens are required and cannot leave the host: a container is one hop further.
        metadataOptions: { httpEndpoint: "enabled", httpTokens: "required", httpPutResponseHopLimit: 1 },
        iamInstanceProfile: { arn: args.instanceProfileArn },
        vpcSecurityGroupIds: [args.securityGroupId],
        blockDeviceMappings: [
          {
            deviceName: config.rootDevice,
            ebs: {
              volumeSize: config.diskGb,
              volumeType: "gp3",
              encrypted: "true",
              kmsKeyId: args.kmsKeyArn,
              deleteOnTermination: "true",
            },
          },
        ],
        userData: args.userData.apply((text) => Buffer.from(text).toString("base64")),
        tagSpecifications: [
          { resourceType: "instance", tags: { Name: args.groupName } },
          { resourceType: "volume", tags: { Name: args.groupName } },
        ],
      },
      options,
    );
  }

  #group(name: string, args: FleetArgs, options: pulumi.CustomResourceOptions): autoscaling.Group {
    const { config } = args;
    const gone = `${goneSeconds(longestCallMs(config.common), args.drainSeconds)}s`;
    // New hosts serve before old ones go, whatever the reason.
    const newFirst = { minHealthyPercentage: 100, maxHealthyPercentage: 200 };
    return new autoscaling.Group(
      `${name}-group`,
      {
        name: args.groupName,
        minSize: config.hostCount,
        desiredCapacity: config.hostCount,
        // Room for the new hosts while the old ones still serve.
        maxSize: config.hostCountMax ?? config.hostCount * 2,
        vpcZoneIdentifiers: args.subnetIds,
        targetGroupArns: [args.targetGroupArn],
        healthCheckType: "ELB",
        // From the end of the launch hook to the load balancer's second probe.
        healthCheckGracePeriod: 180,
        serviceLinkedRoleArn: args.scalingRoleArn,
        // Machine images are patched, running hosts are not.
        maxInstanceLifetime: config.hostLifetimeDays * DAY_SECONDS,
        instanceMaintenancePolicy: newFirst,
        // A number, not $Latest: a change must be seen as one.
        launchTemplate: {
          id: this.template.id,
          version: this.template.latestVersion.apply((version) => String(version)),
        },
        // They work at creation alone, so nothing in them follows the configuration.
        initialLifecycleHooks: [
          {
            name: "launch",
            lifecycleTransition: "autoscaling:EC2_INSTANCE_LAUNCHING",
            heartbeatTimeout: LAUNCH_SECONDS,
            defaultResult: "ABANDON",
          },
          {
            name: "terminate",
            lifecycleTransition: "autoscaling:EC2_INSTANCE_TERMINATING",
            heartbeatTimeout: SILENT_SECONDS,
            defaultResult: "CONTINUE",
          },
        ],
        instanceRefresh: {
          strategy: "Rolling",
          // A host that executes no code holds its launch hook, so a bad version replaces nothing. There is no rollback: AWS
          // has none for images that a parameter names, and the group knows only the new version by then.
          preferences: { ...newFirst, skipMatching: true, instanceWarmup: "30" },
        },
        waitForCapacityTimeout: "25m",
        tags: [{ key: "Name", value: args.groupName, propagateAtLaunch: true }],
      },
      {
        ...options,
        // Between the two the policy decides.
        ignoreChanges: config.hostCountMax === null ? [] : ["desiredCapacity"],
        customTimeouts: { update: gone, delete: gone },
      },
    );
  }
}
