/** Target aws: what fits together, and what AWS would refuse only later. Pure. */
import { type GvisorArchitecture, gvisorUrl } from "../../gateway/host/gvisor.ts";
import { checkAuditBucket } from "./audit.ts";
import { checkConsole } from "./console.ts";
import type { KeyReader } from "./problems.ts";
import { KEYS } from "./schema.ts";
import type { AwsConfig, CommonConfig } from "./stack-config.ts";

/** AWS takes up to /16; a sixteenth of a /22 has room for a load balancer's and the endpoints' addresses. */
const VPC_LENGTHS = { from: 16, to: 22 };
/** Wider than any private range. */
const WIDEST_CLIENT = 8;
const AMAZON_LINUX = "/aws/service/ami-amazon-linux-latest/";
const AMAZON_LINUX_ROOT = "/dev/xvda";

export function parseAws(common: CommonConfig, keys: KeyReader): AwsConfig {
  const hostCount = keys.value(KEYS.hostCount, 1);
  const hostCountMax = keys.read(KEYS.hostCountMax);
  if (hostCountMax !== null && hostCountMax <= hostCount)
    keys.problem(KEYS.hostCountMax, `is ${hostCountMax}, no more than kernelyard:hostCount (${hostCount})`);
  const several = hostCount > 1 || hostCountMax !== null;
  const region = keys.required(KEYS.region, "");
  const between = several ? fleet(keys, common) : null;
  checkConsole(common, keys, { port: common.port, fleetPort: between?.port });
  const files = fileBucket(keys, several);
  checkAuditBucket(common, keys, files, KEYS.fileBucket.remedy);
  return {
    target: "aws",
    common,
    region,
    network: network(keys),
    clientCidrs: clients(keys),
    certificateArn: regional(keys, KEYS.certificateArn, keys.required(KEYS.certificateArn, ""), region),
    domainName: keys.required(KEYS.domainName, ""),
    ...machine(keys),
    hostCount,
    hostLifetimeDays: keys.value(KEYS.hostLifetimeDays, 30),
    hostCountMax,
    fleet: between,
    fileBucket: files,
    diskGb: keys.value(KEYS.diskGb, 60),
    logRetentionDays: keys.value(KEYS.logRetentionDays, 30),
    alarmTopicArn: regional(keys, KEYS.alarmTopicArn, keys.read(KEYS.alarmTopicArn), region),
    accountId: keys.required(KEYS.accountId, ""),
  };
}

function fileBucket(keys: KeyReader, several: boolean): boolean {
  const given = keys.read(KEYS.fileBucket);
  if (given === false && several)
    keys.problem(
      KEYS.fileBucket,
      "is false with several hosts: files must be where each of them reaches them",
    );
  return given ?? several;
}

/** AWS has it for these; others keep a copy in another zone, which may be a moment behind. */
const DURABLE_FAMILIES = /^cache\.[mr][67]g\./;

function fleet(keys: KeyReader, common: CommonConfig): NonNullable<AwsConfig["fleet"]> {
  const port = keys.value(KEYS.fleetPort, 3114);
  if (port === common.port) keys.problem(KEYS.fleetPort, `is the gateway's port, ${port}`);
  const nodeType = keys.value(KEYS.valkeyNodeType, "");
  const durable = keys.value(KEYS.valkeyDurable, false);
  if (durable && !DURABLE_FAMILIES.test(nodeType))
    keys.problem(KEYS.valkeyDurable, `is true, which kernelyard:valkeyNodeType ${nodeType} does not have`);
  return { port, nodeType, durable };
}

const lengthOf = (range: string) => Number(range.split("/")[1]);

function network(keys: KeyReader): AwsConfig["network"] {
  const vpcId = keys.read(KEYS.vpcId);
  const subnetIds = keys.value(KEYS.subnetIds, []);
  const endpoints = keys.read(KEYS.endpoints);
  const range = keys.read(KEYS.vpcCidr);
  if (vpcId === null) {
    if (subnetIds.length > 0) keys.problem(KEYS.vpcId, "is not set although kernelyard:subnetIds is");
    const zones = keys.value(KEYS.availabilityZones, []);
    if (new Set(zones).size !== zones.length) keys.problem(KEYS.availabilityZones, "names a zone twice");
    const cidr = range ?? "10.61.0.0/16";
    if (lengthOf(cidr) < VPC_LENGTHS.from || lengthOf(cidr) > VPC_LENGTHS.to) {
      keys.problem(
        KEYS.vpcCidr,
        `is ${cidr}; a VPC with room for its load balancer and endpoints is a range from /${VPC_LENGTHS.from} to /${VPC_LENGTHS.to}`,
      );
    }
    return { kind: "new", cidr, zones, endpoints: endpoints ?? true };
  }
  if (new Set(subnetIds).size < 2)
    keys.problem(KEYS.subnetIds, "needs at least two different subnets when kernelyard:vpcId is set");
  if (endpoints === true && range === null) {
    keys.problem(
      KEYS.endpoints,
      "is true in your own VPC: every machine there will call the AWS APIs through the endpoints, so its range must be let in",
      "pulumi config set vpcCidr RANGE-OF-THAT-VPC, or leave endpoints unset when the subnets reach the AWS APIs",
    );
  }
  if (endpoints !== true && range !== null)
    keys.problem(KEYS.vpcCidr, "says nothing in your own VPC without kernelyard:endpoints true; remove it");
  return { kind: "own", vpcId, subnetIds, endpointClients: endpoints === true ? range : null };
}

function clients(keys: KeyReader): readonly string[] {
  const read = keys.read(KEYS.clientCidrs);
  const ranges = read ?? [];
  if (read?.length === 0) keys.problem(KEYS.clientCidrs, "names nobody who may reach the load balancer");
  if (new Set(ranges).size !== ranges.length) keys.problem(KEYS.clientCidrs, "names a range twice");
  for (const range of ranges) {
    if (lengthOf(range) === 0) keys.problem(KEYS.clientCidrs, `contains ${range}, the whole internet`);
    else if (lengthOf(range) < WIDEST_CLIENT)
      keys.problem(KEYS.clientCidrs, `contains ${range}, which is wider than any private range`);
  }
  return ranges;
}

/** Load balancers and alarms use what is in their own region. */
function regional<T extends string | null>(
  keys: KeyReader,
  spec: typeof KEYS.certificateArn | typeof KEYS.alarmTopicArn,
  arn: T,
  region: string,
): T {
  const place = arn?.split(":")[3] ?? "";
  if (place !== "" && region !== "" && place !== region)
    keys.problem(spec, `is in ${place}, the stack (kernelyard:region) in ${region}`);
  return arn;
}

/** Families of Amazon's own processors have a `g` behind their generation: m7g, c7gn, x2gd, im4gn, t4g. */
const isArm = (instanceType: string) => /^(a1|[a-z]+(-?[a-z]+)?\d+[a-z-]*g[a-z-]*)\./.test(instanceType);

/** What an image's path or a folder's name says of its processor; null: nothing. */
function architectureIn(text: string): GvisorArchitecture | null {
  if (/arm64|aarch64/.test(text)) return "aarch64";
  return /x86_64|amd64/.test(text) ? "x86_64" : null;
}

function machine(
  keys: KeyReader,
): Pick<AwsConfig, "instanceType" | "imageParameter" | "rootDevice" | "platform" | "gvisorUrl"> {
  const instanceType = keys.value(KEYS.instanceType, "");
  const architecture = isArm(instanceType) ? "aarch64" : "x86_64";
  const platform = architecture === "aarch64" ? "linux/arm64" : "linux/amd64";
  const amazonName = architecture === "aarch64" ? "arm64" : "x86_64";
  const imageParameter =
    keys.read(KEYS.imageParameter) ?? `${AMAZON_LINUX}al2023-ami-kernel-default-${amazonName}`;
  const url = keys.read(KEYS.gvisorUrl) ?? gvisorUrl(architecture);
  for (const [spec, value] of [
    [KEYS.imageParameter, imageParameter],
    [KEYS.gvisorUrl, url],
  ] as const) {
    const said = architectureIn(value);
    if (said !== null && said !== architecture)
      keys.problem(spec, `is for ${said}, but kernelyard:instanceType ${instanceType} is ${architecture}`);
  }
  const known = imageParameter.startsWith(AMAZON_LINUX) ? AMAZON_LINUX_ROOT : null;
  const rootDevice = keys.read(KEYS.rootDevice) ?? known;
  if (rootDevice === null) {
    keys.problem(
      KEYS.rootDevice,
      `is not set, and nothing says which disk of ${imageParameter} is the one to size and to encrypt`,
    );
  } else if (known !== null && rootDevice !== known) {
    keys.problem(KEYS.rootDevice, `is ${rootDevice}, but Amazon Linux' is ${known}`);
  }
  return { instanceType, imageParameter, rootDevice: rootDevice ?? "", platform, gvisorUrl: url };
}
