/** Which entries of a lock a mirror needs. Pure. */

/** A lock without what another one pins as well: `name==1.2 \` with its indented lines below. */
export function withoutPinned(lock: string, present: string): string {
  const pins = new Set([...present.matchAll(/^([^\s#=]+==\S+)/gm)].map(([, pin]) => pin));
  let kept = true;
  return lock
    .split("\n")
    .filter((line) => {
      const pin = /^([^\s#=]+==\S+)/.exec(line)?.[1];
      if (pin !== undefined) kept = !pins.has(pin);
      return kept || line.startsWith("#");
    })
    .join("\n");
}
