/** The internal load balancer: TLS, and an idle time longer than the longest answer. About 20 USD a month. */
import * as lb from "@pulumi/aws/lb/index.js";
import type { Provider } from "@pulumi/aws/provider.js";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/stack-config.ts";
import { longestAnswerMs, longestCallMs } from "../../services/environment.ts";
import type { Network } from "./network.ts";

export interface EntryArgs {
  readonly prefix: string;
  readonly config: AwsConfig;
  readonly network: Network;
  readonly accessBucket: pulumi.Output<string>;
  readonly provider: Provider;
}

/** Between the end of a call and the load balancer giving up on a silent connection. */
const SPARE_SECONDS = 60;
const LONGEST_IDLE_SECONDS = 4000;

export const idleSeconds = (longestMs: number): number =>
  Math.min(LONGEST_IDLE_SECONDS, Math.ceil(longestMs / 1000) + SPARE_SECONDS);

/** Until a host that leaves is no longer sent to: its longest call may end. */
export const deregistrationSeconds = (longestMs: number): number => Math.min(3600, idleSeconds(longestMs));

export class Entry extends pulumi.ComponentResource {
  readonly loadBalancer: lb.LoadBalancer;
  readonly targetGroup: lb.TargetGroup;
  readonly listener: lb.Listener;

  constructor(name: string, args: EntryArgs, opts?: pulumi.ComponentResourceOptions) {
    super("kernelyard:aws:Entry", name, {}, opts);
    const options = { parent: this, provider: args.provider };
    this.loadBalancer = this.#balancer(name, args, options);
    this.targetGroup = this.#targets(name, args, options);
    this.listener = this.#listener(name, args, options);
    this.registerOutputs({ dnsName: this.loadBalancer.dnsName });
  }

  #balancer(name: string, args: EntryArgs, options: pulumi.CustomResourceOptions) {
    return new lb.LoadBalancer(
      // With what is added to it, its name has at most 32 characters.
      `${name}-lb`,
      {
        internal: true,
        loadBalancerType: "application",
        subnets: args.network.subnetIds,
        securityGroups: [args.network.entryGroup.id],
        idleTimeout: idleSeconds(longestAnswerMs(args.config.common)),
        dropInvalidHeaderFields: true,
        enableDeletionProtection: false,
        accessLogs: { bucket: args.accessBucket, enabled: true },
        tags: { Name: args.prefix },
      },
      options,
    );
  }

  /** Healthy means: has just executed code. A host that leaves may finish its calls. */
  #targets(name: string, args: EntryArgs, options: pulumi.CustomResourceOptions) {
    return new lb.TargetGroup(
      `${name}-hosts`,
      {
        vpcId: args.network.vpcId,
        port: args.config.common.port,
        protocol: "HTTP",
        targetType: "instance",
        deregistrationDelay: deregistrationSeconds(longestCallMs(args.config.common)),
        // The canary itself may take 20 s while users' code has all CPUs; only a host that stays so for minutes is replaced.
        healthCheck: {
          path: "/health",
          protocol: "HTTP",
          matcher: "200",
          interval: 30,
          timeout: 25,
          healthyThreshold: 2,
          unhealthyThreshold: 5,
        },
      },
      options,
    );
  }

  #listener(name: string, args: EntryArgs, options: pulumi.CustomResourceOptions) {
    return new lb.Listener(
      `${name}-https`,
      {
        loadBalancerArn: this.loadBalancer.arn,
        port: 443,
        protocol: "HTTPS",
        sslPolicy: "ELBSecurityPolicy-TLS13-1-2-2021-06",
        certificateArn: args.config.certificateArn,
        defaultActions: [{ type: "forward", targetGroupArn: this.targetGroup.arn }],
      },
      options,
    );
  }
}
