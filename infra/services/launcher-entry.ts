/** First process of the launcher's container: makes the data directory's parts with their owners, then is the launcher. */

import { readSettings } from "../../gateway/settings/read.ts";
import { prepareDataDirectory } from "../../gateway/start/data-directory.ts";
import { SERVICE_GID, SERVICE_UID } from "./users.ts";

prepareDataDirectory(readSettings(process.env).dataDir, { uid: SERVICE_UID, gid: SERVICE_GID });
await import("../../gateway/launcher/main.ts");
