/** The hosts: a launch template and an auto scaling group that replaces them before it lets the old ones go. */
import * as autoscaling from "@pulumi/aws/autoscaling/index.js";
import * as ec2 from "@pulumi/aws/ec2/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/parse.ts";
import { longestCallMs } from "../../services/environment.ts";
import { idleSeconds } from "./entry.ts";

export interface FleetArgs {
  readonly config: AwsConfig;
  readonly groupName: string;
  readonly userData: pulumi.Output<string>;
  readonly instanceProfileArn: pulumi.Output<string>;
  readonly securityGroupId: pulumi.Output<string>;
  readonly subnetIds: pulumi.Output<string[]>;
  readonly targetGroupArn: pulumi.Output<string>;
  readonly kmsKeyArn: pulumi.Output<string>;
  /** Rolls a replacement back when it fires. */
  readonly unhealthyAlarm: pulumi.Output<string>;
  readonly provider: Provider;
}

/** A host has this long to execute its first code. */
const LAUNCH_SECONDS = 1200;

export class Fleet extends pulumi.ComponentResource {
  readonly template: ec2.LaunchTemplate;
  readonly group: autoscaling.Group;

  constructor(name: string, args: FleetArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:aws:Fleet", name, {}, opts);
    const options = { parent: this, provider: args.provider };
    this.template = this.#template(name, args, options);
    this.group = this.#group(name, args, options);
    this.registerOutputs({ groupName: this.group.name });
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
            deviceName: "/dev/xvda",
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
    const drainSeconds = idleSeconds(longestCallMs(config.common)) + 60;
    return new autoscaling.Group(
      `${name}-group`,
      {
        name: args.groupName,
        minSize: config.hostCount,
        desiredCapacity: config.hostCount,
        // Room for the new hosts while the old ones still serve.
        maxSize: config.hostCount * 2,
        vpcZoneIdentifiers: args.subnetIds,
        targetGroupArns: [args.targetGroupArn],
        healthCheckType: "ELB",
        healthCheckGracePeriod: 60,
        // A number, not $Latest: a change must be seen as one, and there must be something to go back to.
        launchTemplate: {
          id: this.template.id,
          version: this.template.latestVersion.apply((version) => String(version)),
        },
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
            heartbeatTimeout: drainSeconds,
            defaultResult: "CONTINUE",
          },
        ],
        instanceRefresh: {
          strategy: "Rolling",
          preferences: {
            // New hosts serve before old ones go.
            minHealthyPercentage: 100,
            maxHealthyPercentage: 200,
            autoRollback: true,
            skipMatching: true,
            instanceWarmup: "30",
            alarmSpecification: { alarms: [args.unhealthyAlarm] },
          },
        },
        waitForCapacityTimeout: "25m",
        tags: [{ key: "Name", value: args.groupName, propagateAtLaunch: true }],
      },
      options,
    );
  }
}
