import { describeTarget } from "./target.ts";

describeTarget("local", () => {});
