/** Which sandboxes there are, found by their id, container or session, and for a minute which there were. */
import type { Sandbox, SessionKey } from "../../common/protocol/launcher-api.ts";
import { encodeSession } from "../engine/labels.ts";
import type { SandboxState } from "./state.ts";

const REMEMBER_ENDED_MS = 60_000;
const REMEMBER_ENDED_MAX = 512;

export class SandboxRegister {
  readonly #now: () => number;
  readonly #sandboxes = new Map<string, SandboxState>();
  readonly #byContainer = new Map<string, SandboxState>();
  readonly #bySession = new Map<string, SandboxState>();
  #remembered: { readonly sandbox: Sandbox; readonly until: number }[] = [];

  constructor(now: () => number) {
    this.#now = now;
  }

  get size(): number {
    return this.#sandboxes.size;
  }

  all(): SandboxState[] {
    return [...this.#sandboxes.values()];
  }

  get(id: string): SandboxState | undefined {
    return this.#sandboxes.get(id);
  }

  ofContainer(containerId: string): SandboxState | undefined {
    return this.#byContainer.get(containerId);
  }

  ofSession(session: SessionKey): SandboxState | undefined {
    return this.#bySession.get(encodeSession(session));
  }

  add(sandbox: SandboxState): void {
    this.#sandboxes.set(sandbox.identity.id, sandbox);
    const { session } = sandbox.identity;
    if (session !== null) this.#bySession.set(encodeSession(session), sandbox);
  }

  bind(sandbox: SandboxState, containerId: string): void {
    sandbox.bind(containerId);
    this.#byContainer.set(containerId, sandbox);
  }

  /** Its container did not come to life; another one may be bound. */
  forgetAttempt(sandbox: SandboxState): void {
    if (sandbox.containerId !== null) this.#byContainer.delete(sandbox.containerId);
    sandbox.forgetAttempt();
  }

  /** Gives up its place and its session, and remembers how it ended. */
  remove(sandbox: SandboxState): void {
    const { id, session } = sandbox.identity;
    this.#sandboxes.delete(id);
    if (sandbox.containerId !== null) this.#byContainer.delete(sandbox.containerId);
    if (session !== null && this.ofSession(session) === sandbox) {
      this.#bySession.delete(encodeSession(session));
    }
    this.#forgetOld();
    this.#remembered.push({ sandbox: sandbox.view(), until: this.#now() + REMEMBER_ENDED_MS });
  }

  remembered(id: string): Sandbox | null {
    this.#forgetOld();
    return this.#remembered.find((ended) => ended.sandbox.id === id)?.sandbox ?? null;
  }

  #forgetOld(): void {
    const now = this.#now();
    this.#remembered = this.#remembered.filter((ended) => ended.until > now).slice(-REMEMBER_ENDED_MAX);
  }
}
