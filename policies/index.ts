/** The pack: `pulumi preview --policy-pack policies`. Making it has effects, so tests use `rules/` alone. */
import { PolicyPack } from "@pulumi/policy";
import { POLICIES } from "./rules";

new PolicyPack("kernelyard", { policies: [...POLICIES] });
