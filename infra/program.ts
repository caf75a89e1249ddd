/** The whole stack as one function: `pulumi up` and the tests both call it. */
import { homedir } from "node:os";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { StackConfigError } from "./config/parse.ts";
import { readStackConfig } from "./config/read.ts";
import type { HostConfig } from "./config/values.ts";
import { localProblems, machineDrift } from "./parts/engine-check.ts";
import { sshMachine } from "./parts/machine.ts";
import type { StackOutputs } from "./target.ts";
import { awsStack } from "./targets/aws/stack.ts";
import { hostsStack } from "./targets/hosts/stack.ts";
import { localStack } from "./targets/local.ts";

/** How the program looks at machines before an update; nothing else leaves the process. */
export interface Surroundings {
  readonly localProblems: typeof localProblems;
  readonly machineDrift: typeof machineDrift;
  readonly home: string;
  /** What images are built from, and keys are made with. */
  readonly projectRoot: string;
}

export const SURROUNDINGS: Surroundings = {
  localProblems,
  machineDrift,
  home: homedir(),
  projectRoot: join(import.meta.dirname, ".."),
};

/** Printed by Pulumi without a stack. */
const refusal = (text: string) => new pulumi.RunError(text);

export async function kernelyard(surroundings: Surroundings = SURROUNDINGS): Promise<StackOutputs> {
  const { config, apiKeys } = configuration();
  const shared = { projectRoot: surroundings.projectRoot, stack: pulumi.getStack(), apiKeys };
  // A preview needs neither engines nor machines.
  const update = !pulumi.runtime.isDryRun();
  switch (config.target) {
    case "local": {
      if (update) {
        const { isolation } = config.common;
        const problems = await surroundings.localProblems(config.dockerHost, isolation);
        if (problems.length > 0) {
          throw refusal(
            `Nothing was changed. On this machine:\n${problems.map((p) => `  - ${p}`).join("\n")}`,
          );
        }
      }
      return localStack({ ...shared, config });
    }
    case "hosts": {
      const drift = new Map<string, string>();
      const look = async (host: HostConfig) => {
        const machine = sshMachine(host, config.sshKeyFile, surroundings.home);
        const found = await surroundings.machineDrift(host, machine);
        if (found !== null) drift.set(host.name, found);
      };
      if (update) {
        const looked = await Promise.allSettled(config.hosts.map(look));
        const failures = looked.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
        if (failures.length > 0) throw refusal(`Nothing was changed.\n${failures.join("\n")}`);
      }
      return hostsStack({ ...shared, config, home: surroundings.home, drift });
    }
    case "aws":
      return awsStack({ ...shared, config });
  }
}

function configuration() {
  try {
    return readStackConfig();
  } catch (error) {
    if (error instanceof StackConfigError) throw refusal(error.message);
    throw error;
  }
}
