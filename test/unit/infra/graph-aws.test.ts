import { describeTarget } from "./target.ts";

describeTarget("aws", () => {});
