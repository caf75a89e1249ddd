import { kernelyard } from "./program.ts";

export default () => kernelyard();
