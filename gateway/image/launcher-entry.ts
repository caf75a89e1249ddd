/** First process of the launcher's container: makes the data directory's parts with their owners, then is the launcher. */

import { readSettings } from "../common/settings/read.ts";
import { prepareDataDirectory } from "../host/data-directory.ts";
import { SERVICE_GID, SERVICE_UID } from "../host/users.ts";

prepareDataDirectory(readSettings(process.env).dataDir, { uid: SERVICE_UID, gid: SERVICE_GID });
await import("../launcher/main.ts");
