import { describeTarget } from "./target.ts";

describeTarget("hosts", () => {});
