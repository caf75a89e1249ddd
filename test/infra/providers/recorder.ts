/**
 * `pulumi-resource-aws`: records every call, in order, in the file that KERNELYARD_TEST_RECORDING names, and acts on nothing.
 * It keeps what it was asked to make, as an account that was empty before, and refuses what AWS or the real provider refuses
 * (`account.ts` has the rules).
 */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { Account, type Made } from "./account.ts";
import { nameOf, type Properties, type ResourceHandler, serve } from "./server.ts";

const RECORDING = process.env.KERNELYARD_TEST_RECORDING;
if (RECORDING === undefined) throw new Error("KERNELYARD_TEST_RECORDING names no file");
const file = RECORDING;
const stateFile = `${file}.account`;

const account = new Account(
  existsSync(stateFile) ? (JSON.parse(readFileSync(stateFile, "utf8")) as Made[]) : [],
);
const keep = () => writeFileSync(stateFile, JSON.stringify(account.made));

function record(action: string, type: string, urn: string, inputs: Properties): void {
  appendFileSync(file, `${JSON.stringify({ action, type, name: nameOf(urn), inputs })}\n`);
}

/** Inputs that AWS cannot change in place, of the types where it matters here. */
const REPLACE_ON: Readonly<Record<string, readonly string[]>> = {
  "aws:autoscaling/group:Group": ["name"],
  "aws:secretsmanager/secretVersion:SecretVersion": ["secretString"],
  "aws:lb/targetGroup:TargetGroup": ["port", "protocol", "vpcId"],
  "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": ["securityGroupId"],
  "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": ["securityGroupId"],
  "aws:ec2/securityGroupRule:SecurityGroupRule": ["*"],
};

function handler(type: string): ResourceHandler {
  return {
    replaceOn: REPLACE_ON[type] ?? [],
    check: (inputs, { urn }) => account.wrongInputs(type, nameOf(urn), inputs),
    async create(inputs, { urn }) {
      record("create", type, urn, inputs);
      const made = account.create(type, nameOf(urn), inputs);
      keep();
      return { id: made.id, outputs: made.outputs };
    },
    async update(id, inputs, _old, { urn }) {
      record("update", type, urn, inputs);
      const outputs = account.update(id, inputs);
      keep();
      return outputs;
    },
    async delete(id, state, { urn }, timeoutSeconds) {
      record("delete", type, urn, state);
      account.delete(id, timeoutSeconds);
      keep();
    },
  };
}

serve({
  version: "7.48.0",
  async configure(configuration) {
    account.configure(configuration, process.env);
  },
  handler,
});
