/** A real Chromium, and what its pages complain of. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

export function startChromium(): Promise<Browser> {
  const script = join(import.meta.dirname, "chromium.sh");
  const executablePath = execFileSync("bash", [script], { encoding: "utf8" }).trim();
  // Its own sandbox needs a user that is not root; nothing from outside is opened in it.
  return chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/** For what a test waits for; the machine may be busy. */
const WITHIN_MS = 20_000;

export interface Visit {
  readonly page: Page;
  /** Violations of the policy, scripts' errors, requests to other hosts. */
  readonly complaints: string[];
}

/** A new person at a browser. */
export async function visit(
  browser: Browser,
  origin: string,
  options: BrowserContextOptions = {},
): Promise<Visit> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(WITHIN_MS);
  const complaints: string[] = [];
  page.on("console", (message) => {
    // A refusal that a test asks for is in the console, too.
    if (message.type() === "error" && !message.text().includes("status of 4"))
      complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !url.startsWith("data:")) complaints.push(`asked ${url}`);
  });
  return { page, complaints };
}
