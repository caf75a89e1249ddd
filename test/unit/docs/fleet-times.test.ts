/** What the documents say of a fleet's times is what it keeps. */
import { expect, it } from "vitest";
import { FLEET_TIMES } from "../../../gateway/server/fleet/load.ts";
import { readDocument } from "../../support/documents.ts";

const { beatMs, holdMs, leaseMs, marginMs } = FLEET_TIMES;
const seconds = (ms: number) => `${ms / 1000} s`;
const [beat, hold, lease, believed] = [beatMs, holdMs, leaseMs, leaseMs - marginMs].map(seconds);

const SENTENCES: Record<string, readonly string[]> = {
  "ARCHITECTURE.md": [
    `renewed every ${beat} for ${lease} by the engine's clock, and believed here for ${believed} by`,
    `holds claims back for ${hold},`,
  ],
  "docs/fleet.md": [
    `${lease} from its last beat, one every ${beat}.`,
    `if it is back within ${lease} |`,
    `sessions are served on for ${believed} at most`,
    `a wait of ${hold} at most`,
  ],
};

it.each(Object.entries(SENTENCES))("%s", (document, sentences) => {
  const text = readDocument(document);
  for (const sentence of sentences) expect(text).toContain(sentence);
});
