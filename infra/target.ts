/** What every target is given, and what it hands over to its operators. */
import * as pulumi from "@pulumi/pulumi";
import { librechatConfiguration } from "../gateway/common/librechat/configuration.ts";
import { hasStatefulSessions, librechatEnvironment } from "../gateway/common/librechat/environment.ts";
import type { CommonConfig } from "./config/stack-config.ts";
import type { Keys } from "./parts/secrets.ts";
import { usesOwnPair } from "./services/environment.ts";

export interface TargetArgs<Config> {
  readonly config: Config;
  /** The folder that holds `gateway/` and `sandbox-image/`: images are built from it. */
  readonly projectRoot: string;
  /** The stack's name: part of what the stack names outside Pulumi. */
  readonly stack: string;
  /** Further accepted keys, as the gateway's setting writes them. */
  readonly apiKeys: pulumi.Output<string> | null;
}

export interface StackOutputs {
  readonly endpoint: pulumi.Input<string>;
  /** One base URL for each host, where there are several. */
  readonly endpoints: pulumi.Input<pulumi.Input<string>[]>;
  /** Secret: `pulumi stack output --show-secrets librechatEnvironment`. */
  readonly librechatEnvironment: pulumi.Output<string>;
  /** For LibreChat's `librechat.yaml`, where agents are to keep their sessions' state. */
  readonly librechatConfiguration: pulumi.Input<string>;
  readonly registry: pulumi.Input<string>;
  readonly sandboxImage: pulumi.Input<string>;
  readonly gatewayImage: pulumi.Input<string>;
  readonly isolation: string;
  readonly health: pulumi.Input<string>;
  /** Name to point `domainName` at (aws), by a CNAME or, in Route 53, an alias with that zone's id. */
  readonly loadBalancerName?: pulumi.Input<string>;
  readonly loadBalancerZoneId?: pulumi.Input<string>;
  /** For peering with LibreChat's network (aws). */
  readonly vpcId?: pulumi.Input<string>;
  readonly routeTableId?: pulumi.Input<string>;
  readonly entrySecurityGroupId?: pulumi.Input<string>;
}

/** Outputs can be read again at any time. */
const SHOWN = { path: "", created: true };

/** What LibreChat's operator is given. */
export function librechatOutputs(
  config: CommonConfig,
  keys: Keys,
  endpoint: pulumi.Input<string>,
): Pick<StackOutputs, "librechatEnvironment" | "librechatConfiguration"> {
  return {
    librechatEnvironment: environmentFor(config, keys, endpoint),
    librechatConfiguration: hasStatefulSessions(config.auth)
      ? pulumi.output(endpoint).apply((base) => librechatConfiguration(`${base}/v1`))
      : "# Older versions, which send a key, have no sessions that keep their state.\n",
  };
}

/** Ready to paste into LibreChat's `.env`. */
function environmentFor(
  config: CommonConfig,
  keys: Keys,
  endpoint: pulumi.Input<string>,
): pulumi.Output<string> {
  return pulumi.secret(
    pulumi
      .all([endpoint, keys.apiKey, keys.jwtPrivateKeyPem, keys.jwtKid])
      .apply(([base, apiKey, privateKeyPem, kid]) =>
        librechatEnvironment({
          baseUrl: `${base}/v1`,
          auth: config.auth,
          apiKey: config.auth.includes("api-key") ? { key: apiKey, ...SHOWN } : null,
          jwt: usesOwnPair(config) ? { privateKeyPem, kid, ...SHOWN } : null,
          issuer: config.settings.KERNELYARD_JWT_ISSUER,
          audience: config.settings.KERNELYARD_JWT_AUDIENCE,
        }),
      ),
  );
}
