/** Calls of one stack over one connection, each with the answer that it must have. */
import { Agent, request } from "node:http";

/** Where they go, and as whom. */
export interface Endpoint {
  readonly baseUrl: string;
  readonly apiKey: string;
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

export class Client {
  readonly #endpoint: Endpoint;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
  }

  post(path: string, body: object): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const payload = JSON.stringify(body);
      const call = request(
        `${this.#endpoint.baseUrl}${path}`,
        {
          method: "POST",
          agent: this.#agent,
          headers: {
            "content-type": "application/json",
            "content-length": Buffer.byteLength(payload),
            "x-api-key": this.#endpoint.apiKey,
          },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on("data", (chunk: Buffer) => chunks.push(chunk));
          response.on("end", () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
          );
          response.on("error", reject);
        },
      );
      call.setNoDelay(true);
      call.on("error", reject);
      call.end(payload);
    });
  }

  /** Rejects unless the call printed exactly that. */
  async output(path: string, body: object, stdout: string): Promise<void> {
    const answer = await this.post(path, body);
    if (answer.status !== 200 || !answer.text.includes(JSON.stringify(stdout).slice(1, -1))) {
      throw new Error(`${path} answered ${answer.status} ${answer.text}`);
    }
  }

  close(): void {
    this.#agent.destroy();
  }
}
