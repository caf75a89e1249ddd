/** Address arithmetic. Pure. */

/** The first `count` ranges of a range, each `bits` bits longer: `10.0.0.0/16` by 4 gives sixteen /20. */
export function splitCidr(cidr: string, bits: number): string[] {
  const [address = "", lengthText = ""] = cidr.split("/");
  const length = Number(lengthText);
  const octets = address.split(".").map(Number);
  const valid =
    octets.length === 4 && octets.every((octet) => Number.isInteger(octet) && octet >= 0 && octet <= 255);
  if (!valid || !Number.isInteger(length) || length < 8 || length + bits > 28) {
    throw new RangeError(`${cidr} cannot be split into subnets: use a range from /8 to /${28 - bits}`);
  }
  const size = 2 ** (32 - length - bits);
  const start = octets.reduce((sum, octet) => sum * 256 + octet, 0);
  const base = start - (start % 2 ** (32 - length));
  return Array.from({ length: 2 ** bits }, (_, index) => {
    const first = base + index * size;
    const text = [24, 16, 8, 0].map((shift) => Math.floor(first / 2 ** shift) % 256).join(".");
    return `${text}/${length + bits}`;
  });
}
