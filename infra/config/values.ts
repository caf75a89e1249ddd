/** Values that a stack's configuration is made of: how each kind is read from text, and what it refuses. */
import { z } from "zod";
import { SETTINGS } from "../../gateway/common/settings/schema.ts";

/** Settings that the deployment itself decides; the rest of `SETTINGS` may be given under `settings`. */
export const OWNED_SETTINGS: ReadonlySet<string> = new Set([
  "KERNELYARD_HOST",
  "KERNELYARD_PORT",
  "KERNELYARD_DATA_DIR",
  "KERNELYARD_LAUNCHER_SOCKET",
  "KERNELYARD_DOCKER_SOCKET",
  "KERNELYARD_AUTH",
  "KERNELYARD_API_KEYS",
  "KERNELYARD_JWT_PUBLIC_KEY",
  "KERNELYARD_JWT_KID",
  "KERNELYARD_ISOLATION",
  "KERNELYARD_CONSOLE_HOST",
  "KERNELYARD_PROFILE",
  "KERNELYARD_IMAGE",
  "KERNELYARD_FILE_STORE",
  "KERNELYARD_S3_BUCKET",
  "KERNELYARD_S3_PREFIX",
  "KERNELYARD_S3_REGION",
  "KERNELYARD_S3_ENDPOINT",
  "KERNELYARD_FLEET_URL",
  "KERNELYARD_FLEET_CA",
  "KERNELYARD_FLEET_NAME",
  "KERNELYARD_FLEET_ADDRESS",
  "KERNELYARD_FLEET_KEY",
]);

/** Keys: the stack's file is read by whoever reads the repository, and a digest opens nothing. */
const SETTINGS_AS_DIGEST: ReadonlySet<string> = new Set(["KERNELYARD_OPERATOR_KEY"]);
const WRITE_THE_DIGEST =
  "must be the key's digest, sha256:HEX, for the stack's file is no secret: printf %s KEY | sha256sum";

/** By name; what `settings` may hold is checked as the services will check it. */
const settingSchemas: ReadonlyMap<string, z.ZodType> = new Map(
  Object.entries(SETTINGS).map(([name, spec]) => [name, spec.schema]),
);

export const port = z
  .string()
  .regex(/^\d{1,5}$/, "must be a port number")
  .transform(Number)
  .refine((n) => n >= 1 && n <= 65535, "must be between 1 and 65535");

export const count = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, "must be a whole number")
    .transform(Number)
    .refine((n) => n >= min && n <= max, `must be between ${min} and ${max}`);

export const flag = z.enum(["true", "false"], "must be true or false").transform((text) => text === "true");

/** Pulumi hands lists and maps over as JSON. */
export const json = <T extends z.ZodType>(inner: T) =>
  z
    .string()
    .transform((text, context): unknown => {
      try {
        return JSON.parse(text);
      } catch {
        context.addIssue({
          code: "custom",
          message: "must be a list or map (in the stack file: YAML; with `pulumi config set`: --path)",
        });
        return z.NEVER;
      }
    })
    .pipe(inner);

export const host = z
  .object({
    name: z.string().regex(/^[a-z][a-z0-9-]{0,30}$/, "must be a short lower-case name such as box-1"),
    address: z.string().regex(/^[A-Za-z0-9.:-]+$/, "must be a host name or an IP address"),
    port: z.number().int().min(1).max(65535).default(22),
    user: z
      .string()
      .regex(/^[a-z_][a-z0-9_-]{0,31}$/, "must be a user name")
      .default("root"),
    privateAddress: z
      .string()
      .regex(/^[0-9a-fA-F.:]+$/, "must be an IP address of the machine")
      .optional(),
    hostKey: z
      .string()
      .regex(
        /^(ssh-ed25519|ecdsa-sha2-nistp(256|384|521)|ssh-rsa) [A-Za-z0-9+/]+={0,2}$/,
        "must be the machine's public key without a comment: `ssh-keyscan -t ed25519 ADDRESS`, compared with /etc/ssh/ssh_host_ed25519_key.pub on its console",
      ),
  })
  .strict();
export type HostConfig = z.output<typeof host>;

/** `{}` is none. */
export const fileStore = z
  .strictObject({
    bucket: SETTINGS.KERNELYARD_S3_BUCKET.schema.optional(),
    endpoint: SETTINGS.KERNELYARD_S3_ENDPOINT.schema.optional(),
    region: SETTINGS.KERNELYARD_S3_REGION.schema.optional(),
    prefix: SETTINGS.KERNELYARD_S3_PREFIX.schema.optional(),
  })
  .transform(({ bucket, endpoint, prefix, region }, context) => {
    if (bucket === undefined) {
      if ((endpoint ?? prefix ?? region) !== undefined)
        context.addIssue({ code: "custom", path: ["bucket"], message: "is not set" });
      return null;
    }
    if (endpoint === undefined && region === undefined) {
      context.addIssue({
        code: "custom",
        message: "says neither the bucket's region (AWS) nor the endpoint of another store",
      });
    }
    return { bucket, endpoint, region, prefix };
  });
export type FileStore = NonNullable<z.output<typeof fileStore>>;

export const settings = z.record(z.string(), z.coerce.string()).superRefine((values, context) => {
  for (const [name, value] of Object.entries(values)) {
    const schema = settingSchemas.get(name);
    let problem: string | undefined;
    if (schema === undefined)
      problem = "is not a setting of gateway or launcher; docs/settings.md lists them";
    else if (OWNED_SETTINGS.has(name)) problem = "is decided by the deployment; remove it here";
    else if (SETTINGS_AS_DIGEST.has(name) && !value.startsWith("sha256:")) problem = WRITE_THE_DIGEST;
    else problem = schema.safeParse(value).error?.issues[0]?.message;
    if (problem !== undefined) context.addIssue({ code: "custom", path: [name], message: problem });
  }
});

export const arn = (service: string) =>
  z
    .string()
    .regex(new RegExp(`^arn:aws:${service}:[a-z0-9-]*:[0-9]{12}:.+$`), `must be the ARN of ${service}`);

const octetsOf = (address: string) => address.split(".").map(Number);
const numberOf = (address: string) => octetsOf(address).reduce((sum, octet) => sum * 256 + octet, 0);
const dotted = (number: number) =>
  [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join(".");

/** The range that an address and a length mean: with the bits behind the length at zero, as AWS wants it. */
function canonical(range: string): string {
  const [address = "", length = ""] = range.split("/");
  const size = 2 ** (32 - Number(length));
  return `${dotted(Math.floor(numberOf(address) / size) * size)}/${Number(length)}`;
}

export const cidr = z
  .string()
  .regex(/^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/, "must be an address range such as 10.0.0.0/16")
  .superRefine((range, context) => {
    const [address = "", length = ""] = range.split("/");
    if (octetsOf(address).some((octet) => octet > 255) || Number(length) > 32) {
      context.addIssue({ code: "custom", message: `has ${range}, which is no range of IPv4 addresses` });
    } else if (canonical(range) !== range) {
      context.addIssue({ code: "custom", message: `has ${range}, which is written ${canonical(range)}` });
    }
  });
