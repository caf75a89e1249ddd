/** Who runs the service: known by a key of their own, which is nobody's tenant. */
import { timingSafeEqual } from "node:crypto";
import { keyDigest } from "../../common/keys/api-key.ts";
import type { Principal } from "./principal.ts";

export const OPERATOR_HEADER = "x-operator-key";
const LONGEST_KEY = 512;

/** In logs and in the audit log. No tenant has such a name. */
export const OPERATOR: Principal = { mode: "api-key", tenant: "-operator", subject: "-" };

export class OperatorKey {
  readonly #sha256: Buffer;

  /** `setting`: `KERNELYARD_OPERATOR_KEY`, a key or `sha256:HEX`. */
  constructor(setting: string) {
    const [, hex] = /^sha256:(.+)$/.exec(setting) ?? [];
    this.#sha256 = hex === undefined ? keyDigest(setting) : Buffer.from(hex, "hex");
  }

  accepts(key: string | undefined): boolean {
    return key !== undefined && key.length <= LONGEST_KEY && timingSafeEqual(this.#sha256, keyDigest(key));
  }
}
