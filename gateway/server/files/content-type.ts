/** Media types: what an upload said, or what a produced file's extension says. Nobody's security rests on them. */
import { objectExtension } from "./names.ts";

const FALLBACK = "application/octet-stream";

const BY_EXTENSION: ReadonlyMap<string, string> = new Map([
  [".csv", "text/csv"],
  [".tsv", "text/tab-separated-values"],
  [".txt", "text/plain"],
  [".log", "text/plain"],
  [".md", "text/markdown"],
  [".html", "text/html"],
  [".json", "application/json"],
  [".xml", "application/xml"],
  [".yaml", "application/yaml"],
  [".yml", "application/yaml"],
  [".py", "text/x-python"],
  [".sh", "application/x-sh"],
  [".png", "image/png"],
  [".jpg", "image/jpeg"],
  [".jpeg", "image/jpeg"],
  [".gif", "image/gif"],
  [".webp", "image/webp"],
  [".avif", "image/avif"],
  [".bmp", "image/bmp"],
  [".tif", "image/tiff"],
  [".tiff", "image/tiff"],
  [".svg", "image/svg+xml"],
  [".pdf", "application/pdf"],
  [".zip", "application/zip"],
  [".gz", "application/gzip"],
  [".tar", "application/x-tar"],
  [".parquet", "application/vnd.apache.parquet"],
  [".xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"],
  [".docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"],
  [".pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"],
  [".mp3", "audio/mpeg"],
  [".wav", "audio/wav"],
  [".mp4", "video/mp4"],
]);

export function contentTypeOf(name: string): string {
  return BY_EXTENSION.get(objectExtension(name).toLowerCase()) ?? FALLBACK;
}

/** Keeps a declared `type/subtype` when it is one; parameters are dropped. */
export function declaredContentType(declared: string | undefined, name: string): string {
  const essence = declared?.split(";", 1)[0]?.trim().toLowerCase() ?? "";
  const sound = essence.length <= 127 && /^[a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+$/.test(essence);
  return sound && essence !== FALLBACK ? essence : contentTypeOf(name);
}
