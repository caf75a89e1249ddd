import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { prepareDataDirectory } from "../../../gateway/host/data-directory.ts";

describe("the data directory can be entered by the gateway's user, and only its own part read", () => {
  const place = mkdtempSync(join(tmpdir(), "data-directory-"));
  afterAll(() => rmSync(place, { recursive: true }));
  const gateway = { uid: 12_345, gid: 12_345 };
  const mode = (...path: string[]) => (statSync(join(place, ...path)).mode & 0o777).toString(8);

  test("when it is made under a umask of 077, with those above it", () => {
    const before = process.umask(0o077);
    try {
      prepareDataDirectory(`${place}/srv/kernelyard/`, gateway);
    } finally {
      process.umask(before);
    }
    expect([mode("srv"), mode("srv", "kernelyard")]).toEqual(["755", "755"]);
    expect(["keys", "gateway", "run"].map((part) => mode("srv", "kernelyard", part))).toEqual([
      "700",
      "700",
      "750",
    ]);
    expect(statSync(join(place, "srv", "kernelyard", "gateway")).uid).toBe(gateway.uid);
  });

  test("when it was there as root's alone", () => {
    chmodSync(join(place, "srv", "kernelyard"), 0o700);
    prepareDataDirectory(`${place}/srv/kernelyard/`, gateway);
    expect(mode("srv", "kernelyard")).toBe("711");
    expect(mode("srv", "kernelyard", "keys")).toBe("700");
  });
});
