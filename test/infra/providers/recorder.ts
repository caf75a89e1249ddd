/** A provider that records every call, in order, in the file that KERNELYARD_TEST_RECORDING names; acts on nothing. */
import { createHash } from "node:crypto";
import { appendFileSync } from "node:fs";
import { nameOf, type Properties, type ResourceHandler, serve } from "./server.ts";

const RECORDING = process.env.KERNELYARD_TEST_RECORDING;
if (RECORDING === undefined) throw new Error("KERNELYARD_TEST_RECORDING names no file");
const file = RECORDING;

let count = 0;

function record(action: string, type: string, urn: string, inputs: Properties): void {
  appendFileSync(file, `${JSON.stringify({ action, type, name: nameOf(urn), inputs })}\n`);
}

const ACCOUNT = "123456789012";

/** The computed outputs that the program uses. */
function computed(type: string, name: string, inputs: Properties, version: number): Properties {
  const short = type.split(":")[1]?.split("/")[0] ?? "";
  const arn = `arn:aws:${short}:eu-central-1:${ACCOUNT}:${name}`;
  switch (type) {
    case "aws:ecr/repository:Repository":
      return {
        arn,
        registryId: ACCOUNT,
        repositoryUrl: `${ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com/${inputs.name}`,
      };
    case "aws:ec2/launchTemplate:LaunchTemplate":
      return { arn, latestVersion: version };
    case "aws:secretsmanager/secretVersion:SecretVersion":
      return { arn, versionId: `version-${count}` };
    case "aws:ec2/vpcEndpoint:VpcEndpoint":
      return { arn, prefixListId: "pl-0123456789" };
    case "aws:lb/loadBalancer:LoadBalancer":
      return { arn, arnSuffix: `app/${name}/1`, dnsName: "internal-test.elb.example" };
    case "aws:lb/targetGroup:TargetGroup":
      return { arn, arnSuffix: `targetgroup/${name}/1` };
    case "aws:s3/bucket:Bucket":
      return { arn: `arn:aws:s3:::${name}`, bucket: name };
    case "docker:index/image:Image": {
      // The tag follows the content, and so does the digest.
      const digest = createHash("sha256").update(String(inputs.imageName)).digest("hex");
      return { repoDigest: `${String(inputs.imageName).replace(/:[^:/]+$/, "")}@sha256:${digest}` };
    }
    default:
      return { arn, ...(inputs.name === undefined ? { name } : {}) };
  }
}

/** Inputs that AWS cannot change in place, of the types where it matters here. */
const REPLACE_ON: Readonly<Record<string, readonly string[]>> = {
  "aws:autoscaling/group:Group": ["name"],
  "aws:secretsmanager/secretVersion:SecretVersion": ["secretString"],
  "aws:lb/targetGroup:TargetGroup": ["port", "protocol", "vpcId"],
};

function handler(type: string): ResourceHandler {
  return {
    replaceOn: REPLACE_ON[type] ?? [],
    async create(inputs, { urn }) {
      count += 1;
      record("create", type, urn, inputs);
      return { id: `${nameOf(urn)}-${count}`, outputs: computed(type, nameOf(urn), inputs, 1) };
    },
    async update(_id, inputs, old, { urn }) {
      record("update", type, urn, inputs);
      const version = typeof old.latestVersion === "number" ? old.latestVersion + 1 : 1;
      return computed(type, nameOf(urn), inputs, version);
    },
    async delete(_id, state, { urn }) {
      record("delete", type, urn, state);
    },
  };
}

serve({
  version: process.argv[2] === "docker" ? "5.2.0" : "7.48.0",
  handler,
  async invoke(token) {
    if (token !== "aws:ecr/getAuthorizationToken:getAuthorizationToken")
      throw new Error(`no test expects ${token}`);
    appendFileSync(file, `${JSON.stringify({ action: "invoke", type: token, name: "", inputs: {} })}\n`);
    return { userName: "AWS", password: "test-token" };
  },
});
