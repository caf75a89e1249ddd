/** Target aws: hosts in private subnets, images in ECR, an internal load balancer before them. */
import { resolve } from "node:path";
import { Provider } from "@pulumi/aws/provider.js";
import * as secretsmanager from "@pulumi/aws/secretsmanager/index.js";
import { Region } from "@pulumi/aws/types/enums/index.js";
import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { AwsConfig } from "../../config/stack-config.ts";
import { FleetKeys } from "../../parts/fleet-keys.ts";
import { sandboxLibraries } from "../../parts/image-recipe.ts";
import { Images } from "../../parts/images.ts";
import { Keys } from "../../parts/secrets.ts";
import {
  assignments,
  fleetEnvironment,
  gatewayEnvironment,
  launcherEnvironment,
  launcherSocket,
  longestCallMs,
  metricsPort,
} from "../../services/environment.ts";
import { librechatOutputs, type StackOutputs, type TargetArgs } from "../../target.ts";
import { Alarms } from "./alarms.ts";
import { Directory } from "./directory.ts";
import { EncryptionKey } from "./encryption.ts";
import { Entry } from "./entry.ts";
import { Files, filesEnvironment } from "./file-bucket.ts";
import { Fleet } from "./fleet.ts";
import { drainSeconds, hostFiles } from "./host-files.ts";
import { HostRole } from "./host-role.ts";
import { Logs } from "./logs.ts";
import { Network } from "./network.ts";
import { Repositories } from "./repositories.ts";
import { hostEnvironment, userData } from "./user-data.ts";

const PATHS = { data: "/var/lib/kernelyard", dockerSocket: "/var/run/docker.sock" };
/** These hold keys: they are in the secret, never in user data. */
const SECRET_SETTINGS = [
  "KERNELYARD_API_KEYS",
  "KERNELYARD_JWT_PUBLIC_KEY",
  "KERNELYARD_FLEET_URL",
  "KERNELYARD_FLEET_KEY",
];

export function awsStack(args: TargetArgs<AwsConfig>): StackOutputs {
  const { config, projectRoot } = args;
  const { common } = config;
  const prefix = `kernelyard-${args.stack}`;
  const cloud = new Provider("kernelyard-aws", {
    region: awsRegion(config.region),
    // Asked for before anything else, in a preview as well: the wrong credentials change nothing.
    allowedAccountIds: [config.accountId],
    defaultTags: { tags: { project: "kernelyard", stack: args.stack } },
  });
  const commands = new command.Provider("kernelyard-commands");

  const keys = new Keys("kernelyard-keys", { rotation: common.keyRotation, provider: commands });
  const encryption = new EncryptionKey("kernelyard-encryption", { prefix, config, provider: cloud });
  const network = new Network("kernelyard-network", { prefix, config, provider: cloud });
  const logs = new Logs("kernelyard-logs", {
    prefix,
    config,
    kmsKeyArn: encryption.arn,
    vpcId: network.vpcId,
    provider: cloud,
  });
  const repositories = new Repositories("kernelyard-repositories", {
    prefix,
    kmsKeyArn: encryption.arn,
    provider: cloud,
  });
  const images = new Images("kernelyard-images", {
    projectRoot,
    config: common,
    commands,
    machine: null,
    repositories: {
      sandbox: repositories.sandbox.repositoryUrl,
      gateway: repositories.gateway.repositoryUrl,
    },
    registry: repositories.server.apply((server) => ({
      kind: "ecr" as const,
      server,
      region: config.region,
    })),
    elsewhere: { platform: config.platform, gvisorUrl: config.gvisorUrl },
  });
  const shared =
    config.fleet === null ? null : fleetOf(args, config.fleet, network, encryption, commands, cloud);
  const gatewaySettings = pulumi
    .all([keys.apiKey, keys.jwtPublicKeyPem, args.apiKeys ?? "", shared?.environment ?? {}])
    .apply(([apiKey, jwtPublicKeyPem, furtherApiKeys, fleetSettings]) => ({
      ...gatewayEnvironment(common, PATHS, { apiKey, jwtPublicKeyPem, furtherApiKeys }),
      ...fleetSettings,
    }));
  const secret = gatewaySecret(prefix, gatewaySettings, encryption.arn, cloud);
  const groupName = `${prefix}-hosts`;
  const role = new HostRole("kernelyard-host-role", {
    config,
    groupName,
    repositoryArns: [repositories.sandbox.arn, repositories.gateway.arn],
    secretArn: secret.arn,
    logGroupArn: logs.hosts.arn,
    kmsKeyArn: encryption.arn,
    provider: cloud,
  });
  const files = config.fileBucket
    ? new Files("kernelyard-files", {
        prefix,
        config,
        kmsKeyArn: encryption.arn,
        host: role,
        provider: cloud,
      })
    : null;
  const entry = new Entry("kernelyard-entry", {
    prefix,
    config,
    network,
    accessBucket: logs.accessBucket,
    provider: cloud,
  });
  const text = pulumi
    .all([
      images.gateway,
      images.sandbox,
      repositories.server,
      secret.arn,
      secret.version,
      logs.hosts.name,
      files?.bucket ?? null,
      files?.roleArn ?? null,
    ])
    .apply(([gatewayImage, sandboxImage, registry, secretArn, secretVersion, logGroup, bucket, filesRole]) =>
      userData({
        host: hostEnvironment({
          region: config.region,
          registry,
          gatewayImage,
          sandboxImage,
          secretArn,
          secretVersion,
          groupName,
          logGroup,
          port: common.port,
          launcherSocket: launcherSocket(PATHS),
          libraries: sandboxLibraries(resolve(projectRoot, common.sandboxContext), common.profile),
          filesRole,
          fleet: config.fleet === null ? null : { port: config.fleet.port, metricsPort: metricsPort(common) },
        }),
        launcher: launcherEnvironment(common, PATHS, sandboxImage),
        gateway: {
          ...openSettings({
            ...gatewayEnvironment(common, PATHS, NO_KEYS),
            ...(config.fleet === null ? {} : fleetEnvironment({ ...NO_FLEET, stack: args.stack })),
          }),
          ...(bucket === null ? {} : filesEnvironment(bucket, config.region)),
        },
        files: hostFiles(PATHS, common, config.fileBucket, config.fleet?.port ?? null),
        fileBucket: config.fileBucket,
      }),
    );
  const fleet = new Fleet(
    "kernelyard-fleet",
    {
      config,
      groupName,
      userData: text,
      instanceProfileArn: role.instanceProfileArn,
      securityGroupId: network.hostGroup.id,
      subnetIds: network.subnetIds,
      targetGroupArn: entry.targetGroup.arn,
      kmsKeyArn: encryption.arn,
      scalingRoleArn: encryption.scalingRoleArn,
      drainSeconds: drainSeconds(PATHS, longestCallMs(common)),
      provider: cloud,
    },
    // Hosts without their endpoints or their directory, or before the listener, would fail their bootstrap or health check.
    {
      dependsOn: [
        network,
        entry,
        ...(files === null ? [] : [files]),
        ...(shared === null ? [] : [shared.directory]),
      ],
    },
  );
  // A new stack's hosts send their first numbers before anybody listens.
  new Alarms(
    "kernelyard-alarms",
    { prefix, config, groupName, entry, provider: cloud },
    { dependsOn: [fleet] },
  );

  const endpoint = `https://${config.domainName}`;
  return {
    endpoint,
    endpoints: [endpoint],
    ...librechatOutputs(common, keys, endpoint),
    registry: repositories.server,
    sandboxImage: images.sandbox,
    gatewayImage: images.gateway,
    isolation: common.isolation,
    health: `${endpoint}/health`,
    loadBalancerName: entry.loadBalancer.dnsName,
    loadBalancerZoneId: entry.loadBalancer.zoneId,
    vpcId: network.vpcId,
    ...(network.routeTableId === null ? {} : { routeTableId: network.routeTableId }),
    entrySecurityGroupId: network.entryGroup.id,
  };
}

function awsRegion(name: string): Region {
  const region = Object.values(Region).find((known) => known === name);
  if (region === undefined) throw new pulumi.RunError(`kernelyard:region ${name} is no region of AWS`);
  return region;
}

/** What the hosts share, and what each is told of it but its own address. */
function fleetOf(
  { config, stack }: TargetArgs<AwsConfig>,
  fleet: NonNullable<AwsConfig["fleet"]>,
  network: Network,
  encryption: EncryptionKey,
  commands: command.Provider,
  provider: Provider,
) {
  const { keyRotation: rotation, protectData } = config.common;
  const keys = new FleetKeys("kernelyard-fleet-keys", { rotation, provider: commands });
  const directory = new Directory("kernelyard-directory", {
    prefix: `kernelyard-${stack}`,
    fleet,
    protectData,
    network,
    kmsKeyArn: encryption.arn,
    password: keys.directoryPassword,
    provider,
  });
  const environment = pulumi
    .all([directory.url, keys.hopKey])
    .apply(([url, key]) => fleetEnvironment({ ...NO_FLEET, url, key, stack }));
  return { directory, environment };
}

/** A host's own address is known on it alone. */
const NO_FLEET = { url: "", certificate: null, address: null, key: "" };
const NO_KEYS = { apiKey: "", jwtPublicKeyPem: "", furtherApiKeys: null };

const openSettings = (settings: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(settings).filter(([name]) => !SECRET_SETTINGS.includes(name)));

/** An environment file that a host fetches at boot, by its version: new keys are new hosts. 0.40 USD a month. */
function gatewaySecret(
  prefix: string,
  settings: pulumi.Output<Readonly<Record<string, string>>>,
  kmsKeyArn: pulumi.Output<string>,
  provider: Provider,
): { readonly arn: pulumi.Output<string>; readonly version: pulumi.Output<string> } {
  const secret = new secretsmanager.Secret(
    "kernelyard-gateway-keys",
    { namePrefix: `${prefix}-gateway-`, kmsKeyId: kmsKeyArn, recoveryWindowInDays: 7 },
    { provider },
  );
  const version = new secretsmanager.SecretVersion(
    "kernelyard-gateway-keys-version",
    {
      secretId: secret.id,
      secretString: pulumi.secret(
        settings.apply((all) =>
          assignments(
            Object.fromEntries(Object.entries(all).filter(([name]) => SECRET_SETTINGS.includes(name))),
          ).join("\n"),
        ),
      ),
    },
    { provider },
  );
  return { arn: secret.arn, version: version.versionId };
}
