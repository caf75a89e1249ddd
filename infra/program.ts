/** The whole stack as one function: `pulumi up` and the tests both call it. */
import { homedir } from "node:os";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { StackConfigError } from "./config/problems.ts";
import { readStackConfig } from "./config/read.ts";
import type { HostsConfig } from "./config/stack-config.ts";
import { localProblems } from "./parts/engine-check.ts";
import { lockProblem } from "./parts/lock-check.ts";
import { sshMachine } from "./parts/machine.ts";
import type { StackOutputs } from "./target.ts";
import { awsStack } from "./targets/aws/stack.ts";
import { lookAtMachine, type MachineLook, mixedArchitectures, sshProblem } from "./targets/hosts/look.ts";
import { certificateFiles, hostsStack } from "./targets/hosts/stack.ts";
import { localStack } from "./targets/local.ts";

/** How the program looks at machines before an update; nothing else leaves the process. */
export interface Surroundings {
  readonly localProblems: typeof localProblems;
  readonly sshProblem: typeof sshProblem;
  readonly lookAtMachine: typeof lookAtMachine;
  readonly home: string;
  /** What images are built from, and keys are made with. */
  readonly projectRoot: string;
}

export const SURROUNDINGS: Surroundings = {
  localProblems,
  sshProblem,
  lookAtMachine,
  home: homedir(),
  projectRoot: join(import.meta.dirname, ".."),
};

/** Printed by Pulumi without a stack. */
const refusal = (text: string) => new pulumi.RunError(text);

export async function kernelyard(surroundings: Surroundings = SURROUNDINGS): Promise<StackOutputs> {
  const stack = pulumi.getStack();
  const { config, apiKeys, fileStoreKey } = configuration(stack);
  const shared = { projectRoot: surroundings.projectRoot, stack, apiKeys };
  const lock = lockProblem(
    join(surroundings.projectRoot, config.common.sandboxContext),
    config.common.profile,
  );
  if (lock !== null) throw refusal(`Nothing was changed. ${lock}`);
  // A preview looks at no machine.
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
    case "hosts":
      return hostsStack({
        ...shared,
        config,
        fileStoreKey,
        looks: update ? await looks(surroundings, stack, config) : new Map(),
      });
    case "aws":
      return awsStack({ ...shared, config });
  }
}

/** By machine name. */
async function looks(
  surroundings: Surroundings,
  stack: string,
  config: HostsConfig,
): Promise<ReadonlyMap<string, MachineLook>> {
  const problem = await surroundings.sshProblem(surroundings.home);
  if (problem !== null) throw refusal(`Nothing was changed. ${problem}`);
  const looked = await Promise.allSettled(
    config.hosts.map(async (host, index) => {
      const certificates = index === 0 ? certificateFiles(stack) : [];
      const machine = sshMachine(host, config.sshKeyFile);
      return [host.name, await surroundings.lookAtMachine(host, machine, certificates)] as const;
    }),
  );
  const failures = looked.flatMap((one) => (one.status === "rejected" ? [String(one.reason)] : []));
  if (failures.length > 0) throw refusal(`Nothing was changed.\n${failures.join("\n")}`);
  const found = new Map(looked.flatMap((one) => (one.status === "fulfilled" ? [one.value] : [])));
  const mixed = mixedArchitectures(found);
  if (mixed !== null) throw refusal(`Nothing was changed. ${mixed}`);
  return found;
}

function configuration(stack: string) {
  try {
    return readStackConfig(stack);
  } catch (error) {
    if (error instanceof StackConfigError) throw refusal(error.message);
    throw error;
  }
}
