import { describe, expect, it } from "vitest";
import { type BaseSources, chooseBase } from "../../../sandbox-image/tools/base/choose.ts";
import { debianPlan } from "../../../sandbox-image/tools/base/debian.ts";

const unexpected = (name: string) => () => {
  throw new Error(`unexpected call of ${name}`);
};
const sources = (stubs: Partial<BaseSources>): BaseSources => ({
  hasLocally: unexpected("hasLocally"),
  pull: unexpected("pull"),
  makeFromPackages: unexpected("makeFromPackages"),
  ...stubs,
});

describe("the base", () => {
  const said: string[] = [];
  const say = (line: string) => void said.push(line);

  it("is the usual one without asking any registry when it is there", async () => {
    expect(await chooseBase(sources({ hasLocally: async () => true }), undefined, say)).toBe(
      "python:3.11-slim",
    );
  });

  it("is pulled when it is not there", async () => {
    const pulled: string[] = [];
    const pull = async (image: string) => {
      pulled.push(image);
      return null;
    };
    expect(await chooseBase(sources({ hasLocally: async () => false, pull }), undefined, say)).toBe(
      "python:3.11-slim",
    );
    expect(pulled).toEqual(["python:3.11-slim"]);
  });

  it("is made from packages where no registry answers, and that is said", async () => {
    said.length = 0;
    const stubs = sources({
      hasLocally: async () => false,
      pull: async () => "no answer",
      makeFromPackages: async () => "made:1",
    });
    expect(await chooseBase(stubs, undefined, say)).toBe("made:1");
    expect(said.at(-1)).toContain("cannot be pulled (no answer); using a base made from Debian packages");
  });

  it("that was asked for is never replaced by another", async () => {
    const stubs = sources({ hasLocally: async () => false, pull: async () => "denied" });
    await expect(chooseBase(stubs, "mirror/python:3.11", say)).rejects.toThrow(
      "The base `mirror/python:3.11` (--base) cannot be pulled: denied",
    );
  });
});

describe("the base from Debian packages", () => {
  it("has Python, and every package of the list", () => {
    const plan = debianPlan(["jq", "fonts-noto-cjk"], []);
    expect(plan.args).toContain("--include=python3,python3-venv,ca-certificates,jq,fonts-noto-cjk");
    expect(plan.args.slice(-2)).toEqual(["bookworm", "-"]);
  });

  it("has another name when the packages change, and the same on a machine with its own mirror", () => {
    const plain = debianPlan(["jq"], []);
    expect(debianPlan(["jq", "ffmpeg"], []).image).not.toBe(plain.image);
    const mirrored = debianPlan(["jq"], ["/etc/apt/sources.list.d/debian.sources"]);
    expect(mirrored.image).toBe(plain.image);
    expect(mirrored.args.at(-1)).toBe("/etc/apt/sources.list.d/debian.sources");
  });
});
