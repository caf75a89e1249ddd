/** The operator's console and the API page in a real Chromium, in front of real sandboxes. */
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startChromium, type Visit, visit } from "../../support/chromium/browser.ts";
import { freePort } from "../../support/free-port.ts";
import { type Stack, startStack } from "../../support/stack.ts";

const KEY = "operator-key-of-the-test-0123456789";
const DESK = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
/** Where the documentation's pictures go, when they are to be made anew; see `docs/console.md`. */
const { PICTURES } = process.env;

let stack: Stack;
let browser: Browser;
let origin: string;
let desk: Visit;

/** As far down as the page has something on it, on a desk and on a phone, light and dark. */
async function pictures(page: Page, name: string, fullPage = false): Promise<void> {
  if (PICTURES === undefined) return;
  const before = page.viewportSize() ?? DESK;
  const places = [
    [DESK, ""],
    [PHONE, "-phone"],
  ] as const;
  for (const [viewport, place] of places) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      const path = join(PICTURES, `${name}${place}${colorScheme === "dark" ? "-dark" : ""}.png`);
      const last = await page.locator("main > :last-child").boundingBox();
      const height = Math.min(viewport.height, (last?.y ?? 0) + (last?.height ?? viewport.height) + 32);
      const part = fullPage ? { fullPage } : { clip: { x: 0, y: 0, width: viewport.width, height } };
      await page.screenshot({ path, ...part });
    }
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(before);
}

/** The first half minute has no figures to draw. */
async function picturesOfHours(page: Page, name: string): Promise<void> {
  if (PICTURES === undefined) return;
  await page.goto(origin);
  await expect.poll(() => page.locator("canvas").count(), { timeout: 60_000 }).toBe(3);
  await pictures(page, name, true);
}

async function signIn(page: Page, key = KEY): Promise<void> {
  await page.goto(origin);
  await page.getByLabel("Operator key").fill(key);
  await Promise.all([page.waitForEvent("load"), page.keyboard.press("Enter")]);
}

beforeAll(async () => {
  const port = await freePort();
  origin = `http://127.0.0.1:${port}`;
  const env = { KERNELYARD_CONSOLE_PORT: String(port), KERNELYARD_OPERATOR_KEY: KEY };
  [stack, browser] = await Promise.all([startStack({ env }), startChromium()]);
  desk = await visit(browser, origin, { viewport: DESK });
});

afterAll(async () => {
  await browser?.close();
  await stack?.stop();
});

const run = (session: string, code: string) => stack.post("/run", { session_id: session, code });
const heading = (page: Page) => page.getByRole("heading", { level: 1 }).textContent();

it("a wrong key opens nothing; the right one does, and is in no address", async () => {
  const { page } = desk;
  await signIn(page, "another-key-of-nobody");
  expect(await page.getByRole("alert").textContent()).toContain("not the operator's key");
  await signIn(page);
  expect(await heading(page)).toBe("Overview");
  expect(page.url()).toBe(`${origin}/`);
});

it("the overview says that code is executed, and draws what happens", async () => {
  const { page } = desk;
  expect(await page.locator(".banner").textContent()).toContain("Executing code");
  expect(await page.locator(".cards dd").allTextContents()).toHaveLength(8);
  expect(await page.locator("[data-chart]").count()).toBe(3);
  // All spare sandboxes ready is the best there is, no warning.
  const spare = page.locator(".cards div", { hasText: "Spare sandboxes" }).locator("meter");
  expect(await spare.getAttribute("optimum")).toBe(await spare.getAttribute("max"));
});

it("sessions are shown with what they use and how they went; each action does what it says", async () => {
  const { page } = desk;
  await (await run("quiet", "x = 1")).json();
  const long = run("long", "import time\ntime.sleep(600)");
  await page.getByRole("link", { name: "Sessions" }).click();
  const row = (name: string) => page.locator("tr", { hasText: name });
  await expect.poll(() => row("long").textContent()).toMatch(/busy.*MiB/);
  expect(await row("quiet").textContent()).toMatch(/idle.*variables.*MiB.*completed/);

  await pictures(page, "sessions");

  page.on("dialog", (dialog) => void dialog.accept());
  await page.getByRole("button", { name: "Interrupt: long" }).click();
  expect(await (await long).json()).toMatchObject({ exit_code: expect.anything() });
  await expect.poll(() => page.locator("#said").textContent()).toBe("Interrupted.");

  await page.getByRole("button", { name: "Restart: quiet" }).click();
  await expect
    .poll(() => page.locator("#said").textContent())
    .toBe("Restarted: the next call starts a new kernel.");
  await expect.poll(() => row("quiet").textContent()).toMatch(/^(?!.*variables).*idle/);

  // The keyboard alone, too.
  await page.getByRole("button", { name: "End: quiet" }).focus();
  await page.keyboard.press("Enter");
  await expect.poll(() => page.locator("#said").textContent()).toBe("Ended: kernel and files are gone.");
});

it("a question that is answered with no changes nothing", async () => {
  const { page } = await visit(browser, origin, { viewport: DESK });
  await signIn(page);
  await page.goto(`${origin}/sessions`);
  page.on("dialog", (dialog) => void dialog.dismiss());
  await page.getByRole("button", { name: "End: long" }).click();
  expect(await page.locator("#said").textContent()).toBe("");
  expect(await (await run("long", "1 + 1")).json()).toMatchObject({ stdout: "2\n" });
  await page.context().close();
});

it("a cell prints as it goes, shows its figure, keeps variables, and can be stopped", async () => {
  const { page } = desk;
  await page.getByRole("link", { name: "Cell" }).click();
  const code = page.getByLabel("Code");
  const output = page.locator("#output");
  await page.getByRole("button", { name: "Run" }).click();
  await expect.poll(() => page.locator("#cell-status").textContent()).toMatch(/done \(0\)/);
  expect(await output.textContent()).toContain("line 2");
  await pictures(page, "cell");

  await code.fill(
    [
      "import sys, time, matplotlib.pyplot as plt",
      "print('<b id=evil>first</b>', flush=True)",
      "open('go', 'w').close()",
      "time.sleep(1)",
      "print('second', file=sys.stderr)",
      "plt.plot([1, 4, 9]); plt.show()",
      "kept = 42",
    ].join("\n"),
  );
  await code.press("Control+Enter");
  await expect.poll(() => output.textContent()).toContain("first");
  expect(await output.textContent()).not.toContain("second");
  await expect.poll(() => output.locator("img").count()).toBe(1);
  await expect
    .poll(() =>
      output.locator("img").evaluate((picture) => "naturalWidth" in picture && Number(picture.naturalWidth)),
    )
    .toBeGreaterThan(100);
  // What the code printed is text.
  expect(await page.locator("#evil").count()).toBe(0);
  expect(await output.locator(".stderr").textContent()).toContain("second");
  await expect.poll(() => page.locator("#cell-status").textContent()).toMatch(/done \(0\)/);

  await code.fill("print(kept)");
  await page.getByRole("button", { name: "Run" }).click();
  await expect.poll(() => output.textContent()).toContain("42");
  await expect.poll(() => page.locator("#cell-status").textContent()).toMatch(/done/);

  await code.fill("print('on', flush=True)\nwhile True: pass");
  await page.getByRole("button", { name: "Run" }).click();
  await expect.poll(() => output.textContent()).toContain("on");
  await page.getByRole("button", { name: "Stop" }).click();
  await expect.poll(() => page.locator("#cell-status").textContent()).toBe("stopped");
});

it("the other pages say what is stored, installed, found and done", async () => {
  const { page } = desk;
  await page.getByRole("link", { name: "Files" }).click();
  expect(await page.locator("main").textContent()).toContain("SESSION_DISK");
  await page.getByRole("link", { name: "Image" }).click();
  await expect.poll(() => page.locator("#libraries").textContent()).toContain("matplotlib");
  await page.getByRole("link", { name: "Doctor" }).click();
  await expect.poll(() => page.locator("#findings").textContent()).toContain("no privileges");
  await pictures(page, "doctor");
  expect(await page.locator("#findings .tag.missing").count()).toBe(0);
  await page.getByRole("link", { name: "Audit" }).click();
  const entries = await page.locator("table").textContent();
  expect(entries).toContain("-operator / console");
  for (const action of ["interrupt", "restart", "forget"]) expect(entries).toContain(action);
});

it("on a phone, in the dark, in Japanese nothing is wider than the screen", async () => {
  const { page, complaints } = await visit(browser, origin, {
    viewport: PHONE,
    colorScheme: "dark",
    locale: "ja-JP",
  });
  await page.goto(origin);
  await page.getByLabel("運用者キー").fill(KEY);
  await Promise.all([page.waitForEvent("load"), page.keyboard.press("Enter")]);
  for (const path of ["/", "/sessions", "/files", "/image", "/doctor", "/audit", "/cell"]) {
    await page.goto(`${origin}${path}`);
    expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(PHONE.width);
  }
  expect(await heading(page)).toBe("セル");
  await picturesOfHours(page, "overview-ja");
  await page.goto(`${origin}/cell`);
  await page.getByRole("link", { name: "English" }).click();
  expect(await heading(page)).toBe("Cell");
  await page.getByRole("button", { name: "Sign out" }).click();
  expect(await page.getByLabel("Operator key").count()).toBe(1);
  expect(complaints).toEqual([]);
  await page.context().close();
});

it("the overview draws the last hours", async () => {
  const { page } = desk;
  await picturesOfHours(page, "overview");
  await page.getByRole("link", { name: "Overview" }).click();
  expect(await page.locator("#no-history:visible, canvas").count()).toBeGreaterThan(0);
});

it("no page of all these broke its policy, failed in a script or asked another host", () =>
  expect(desk.complaints).toEqual([]));

it("a page of another origin can do nothing, signed in or not", async () => {
  const { page } = desk;
  const other = `http://localhost:${new URL(origin).port}`;
  await page.goto(other);
  const status = await page.evaluate(
    (target) =>
      fetch(`${target}/sessions/end`, { method: "POST", credentials: "include", mode: "no-cors" }).then(
        ({ type }) => type,
        () => "refused",
      ),
    origin,
  );
  expect(status).toBe("refused");
});

it("the API page and the root page work under their policies", async () => {
  const { page, complaints } = await visit(browser, stack.baseUrl, { viewport: DESK });
  await page.goto(`${stack.baseUrl}/v1/`);
  expect(await page.getByRole("heading").first().textContent()).toBe("Kernelyard");
  await page.getByRole("link", { name: "API", exact: true }).click();
  await expect.poll(() => page.locator(".opblock").count()).toBeGreaterThan(10);
  expect(complaints).toEqual([]);
});
