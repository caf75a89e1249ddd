/** Hosts of a fleet behind one address, and all that they share: engine, bucket, keys. What goes between can be cut. */
import { newJwtPair } from "../../../../gateway/common/keys/jwt-pair.ts";
import { entryConfiguration } from "../../../../infra/targets/hosts/entry-configuration.ts";
import { startFleetHost } from "../../../support/fleet/hosts-here.ts";
import { freePort } from "../../../support/free-port.ts";
import { Haproxy } from "../../../support/haproxy/haproxy.ts";
import { TokenSigner } from "../../../support/librechat/tokens.ts";
import { RedisServer } from "../../../support/redis/redis-server.ts";
import type { Stack, StackOptions } from "../../../support/stack.ts";
import { Wire } from "../../../support/wire.ts";
import { type S3Server, startS3, TEST_CREDENTIALS } from "../../files/s3-server.ts";

/** Longer than any call of the drills. */
const SILENT_MS = 400_000;

export interface FleetHost {
  readonly stack: Stack;
  /** Its ways to the fleet's engine and to the bucket. */
  readonly engine: Wire;
  readonly store: Wire;
}

export class Hosts {
  engine: RedisServer;
  readonly s3: S3Server;
  readonly bucket: string;
  readonly front: Haproxy;
  readonly signer: TokenSigner;
  /** By their place behind the front. */
  readonly running = new Map<number, FleetHost>();
  readonly #options: Omit<StackOptions, "port">;
  readonly #frontPort: number;
  readonly #ports: readonly number[];
  readonly #publicKey: string;
  readonly #ends: (() => Promise<void>)[] = [];

  private constructor(parts: {
    engine: RedisServer;
    s3: S3Server;
    bucket: string;
    front: Haproxy;
    frontPort: number;
    ports: readonly number[];
    options: Omit<StackOptions, "port">;
  }) {
    const { kid, privateKeyPem, publicKeyPem } = newJwtPair();
    this.signer = new TokenSigner(privateKeyPem, kid);
    this.#publicKey = publicKeyPem;
    this.engine = parts.engine;
    this.s3 = parts.s3;
    this.bucket = parts.bucket;
    this.front = parts.front;
    this.#frontPort = parts.frontPort;
    this.#ports = parts.ports;
    this.#options = parts.options;
  }

  /** Room for `places` of them, of which none runs yet. */
  static async prepare(places: number, options: Omit<StackOptions, "port"> = {}): Promise<Hosts> {
    const [engine, s3] = await Promise.all([RedisServer.start(), startS3()]);
    const ports = await Promise.all(Array.from({ length: places }, freePort));
    const [bucket, frontPort] = await Promise.all([s3.makeBucket(), freePort()]);
    const servers = ports.map((port, n) => ({ name: `host-${n}`, address: "127.0.0.1", port }));
    // As a stack with `entryPort` has it. It answers before there is a host.
    const configuration = entryConfiguration({
      bind: `127.0.0.1:${frontPort}`,
      servers,
      silentMs: SILENT_MS,
    });
    const front = await Haproxy.start(configuration, async () => {
      await fetch(`http://127.0.0.1:${frontPort}/`);
      return true;
    });
    const hosts = new Hosts({ engine, s3, bucket, front, frontPort, ports, options });
    hosts.#ends.push(
      () => front.stop(),
      () => engine.dispose(),
      () => s3.stop(),
    );
    return hosts;
  }

  /** With `/v1`. */
  get baseUrl(): string {
    return `http://127.0.0.1:${this.#frontPort}/v1`;
  }

  async start(place: number): Promise<FleetHost> {
    const port = this.#ports[place];
    if (port === undefined || this.running.has(place)) throw new Error(`no host can begin at place ${place}`);
    const engine = await Wire.to(this.engine.port);
    const store = await Wire.to(Number(new URL(this.s3.endpoint).port));
    this.#ends.unshift(
      () => engine.close(),
      () => store.close(),
    );
    const stack = await startFleetHost(
      { url: `redis://127.0.0.1:${engine.port}` },
      {
        name: this.bucket,
        endpoint: `http://127.0.0.1:${store.port}`,
        credentials: TEST_CREDENTIALS,
      },
      {
        KERNELYARD_AUTH: "api-key,jwt",
        KERNELYARD_JWT_PUBLIC_KEY: this.#publicKey,
        ...this.#options.env,
      },
      { ...this.#options, port },
    );
    this.#ends.unshift(() => stack.stop());
    const host = { stack, engine, store };
    this.running.set(place, host);
    return host;
  }

  at(place: number): FleetHost {
    const host = this.running.get(place);
    if (host === undefined) throw new Error(`no host at place ${place}`);
    return host;
  }

  /** The one before is gone; `engine` has what it has. */
  async replaceEngine(engine: RedisServer): Promise<void> {
    const before = this.engine;
    this.engine = engine;
    this.#ends.push(() => engine.dispose());
    await before.end();
    for (const host of this.running.values()) host.engine.lead(engine.port);
  }

  /** Drained before. */
  async leave(place: number): Promise<void> {
    const { stack } = this.at(place);
    this.running.delete(place);
    await stack.gateway.signal("SIGTERM");
    await stack.launcher.signal("SIGTERM");
  }

  async stop(): Promise<void> {
    for (const end of this.#ends) await end();
  }
}
