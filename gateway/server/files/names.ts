/**
 * Names of files: relative POSIX paths. One rule for the whole way from upload to sandbox to listing to download, so
 * that a name that was accepted once is never changed again (`normaliseName` is idempotent).
 */

/** Longest segment in bytes: what Linux file systems accept. */
export const MAX_SEGMENT_BYTES = 255;
/** Longest whole name in bytes. */
export const MAX_NAME_BYTES = 1024;
/** Most segments. */
export const MAX_SEGMENTS = 32;

export type NameResult =
  | { readonly ok: true; readonly name: string }
  | { readonly ok: false; readonly reason: string };

const refuse = (reason: string): NameResult => ({ ok: false, reason });

// C0, DEL, C1, and the two line separators: they break headers, listings and terminals.
// biome-ignore lint/suspicious/noControlCharactersInRegex: finding control characters is the purpose
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

/**
 * Unicode NFC, control characters replaced by `_`, everything else exact. Refused: absolute paths, empty, `.` and
 * `..` segments, text that is not Unicode, and names over the limits.
 */
export function normaliseName(raw: string): NameResult {
  if (raw.length === 0) return refuse("the name is empty");
  // Composition shortens text at most fourfold: a cheap bound before any work.
  if (raw.length > 4 * MAX_NAME_BYTES) return refuse(`the name is longer than ${MAX_NAME_BYTES} bytes`);
  if (!raw.isWellFormed()) return refuse("the name is not valid Unicode");
  const name = raw.replace(CONTROL, "_").normalize("NFC");
  if (name.startsWith("/")) return refuse("the name must be relative");
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    return refuse(`the name is longer than ${MAX_NAME_BYTES} bytes`);
  const segments = name.split("/");
  if (segments.length > MAX_SEGMENTS) return refuse(`the name has more than ${MAX_SEGMENTS} segments`);
  for (const segment of segments) {
    if (segment === "") return refuse("the name has an empty segment");
    if (segment === "." || segment === "..") return refuse(`the name has a "${segment}" segment`);
    if (Buffer.byteLength(segment) > MAX_SEGMENT_BYTES) {
      return refuse(`a segment of the name is longer than ${MAX_SEGMENT_BYTES} bytes`);
    }
  }
  return { ok: true, name };
}

/** `filename` of a multipart part: browsers and form-data write a quote as `%22`. */
export function decodePartFilename(filename: string): string {
  return filename.replaceAll("%22", '"');
}

/** The last segment. */
export function basename(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

/** `.ext` for object keys (`<sid>/<fid>.<ext>`): ASCII letters and digits only; empty when there is none. */
export function objectExtension(name: string): string {
  const match = /[^/]\.([A-Za-z0-9]{1,16})$/.exec(basename(name));
  return match ? `.${match[1]}` : "";
}

/** RFC 6266 with RFC 8187's encoding; the whole relative name, as LibreChat expects it. */
export function contentDisposition(name: string): string {
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return `attachment; filename*=UTF-8''${encoded}`;
}
