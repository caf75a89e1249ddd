/** Where the sandbox image's files are. */
import { join } from "node:path";

export const ROOM = join(import.meta.dirname, "..");
