/** What the program asks `publish-image.ts` for: nothing in it depends on who asks, or from where. */
import { z } from "zod";

/** The variable that holds it, as JSON. */
export const ORDER_VARIABLE = "KERNELYARD_IMAGE_ORDER";

export const ImageOrder = z.strictObject({
  image: z.enum(["sandbox", "services", "host-bundle", "registry", "valkey", "entry"]),
  /** Folder of the sandbox image, relative to the project; for the other images it is known. */
  folder: z.string().optional(),
  /** Of the sandbox image. Default: `default`, so that orders of stacks without a profile are what they were. */
  profile: z.string().optional(),
  base: z.string(),
  /** REPOSITORY:TAG. The tag is a digest of all that decides what the image is. */
  name: z.string(),
  /** Default: the engine's own. */
  platform: z.string().optional(),
  gvisorUrl: z.string().optional(),
  /** The engine that builds; null: the one that the operator's `docker` command talks to. */
  engine: z.strictObject({ host: z.string(), sshOptions: z.array(z.string()) }).nullable(),
  /** Where the image goes; null: it stays on the engine. */
  registry: z
    .discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("open") }),
      /** The password comes on standard input. */
      z.strictObject({ kind: z.literal("password"), server: z.string(), username: z.string() }),
      z.strictObject({ kind: z.literal("ecr"), server: z.string(), region: z.string() }),
    ])
    .nullable(),
  /** How the sandbox image is proven before it is pushed; null: not on this engine. */
  verify: z
    .strictObject({
      isolation: z.enum(["runsc", "runc-unsafe"]),
      /** Of what proves it: a change proves the present image again. */
      digest: z.string(),
    })
    .nullable(),
});
export type ImageOrder = z.output<typeof ImageOrder>;
