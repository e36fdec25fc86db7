/** Calls to the other services: kept connections, a deadline on each, the trace carried along. */

import { Agent, request as send, type IncomingMessage } from "node:http";
import { Refusal } from "./http.ts";
import { boundService } from "./settings.ts";
import { telemetry, within } from "./telemetry.ts";

const CONNECTIONS_MAX = 32;
const ANSWER_BYTES_MAX = 1024 * 1024;

export interface Call {
  method?: "GET" | "POST" | "PUT" | "DELETE";
  path: string;
  /** The template of the path, for telemetry. */
  route: string;
  user?: string | undefined;
  body?: unknown;
  headers?: Record<string, string>;
  timeoutMs?: number;
  /** May be sent again when the connection broke before an answer. GET is by itself. */
  repeatable?: boolean;
}

export interface Answer {
  status: number;
  body: Record<string, unknown>;
}

/** Another service that can't be reached or didn't answer in time. */
export class Unreachable extends Refusal {
  constructor(service: string, status: 502 | 503 | 504, what: string, cause?: unknown) {
    super(status, "upstream", `${service} ${what}`);
    if (cause) this.cause = cause;
  }
}

export class Peer {
  readonly #base: URL;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX, maxFreeSockets: 8, timeout: 30_000 });

  constructor(readonly name: string) {
    this.#base = boundService(name);
  }

  /** Answers below 500 come back as they are; the rest throws `Unreachable`. */
  async call(call: Call): Promise<Answer> {
    const method = call.method ?? "GET";
    const span = telemetry.child("client", `${method} ${this.name} ${call.route}`, {
      "http.request.method": method,
      "server.address": this.#base.hostname,
      "server.port": Number(this.#base.port || 80),
      "peer.service": this.name,
      "url.template": call.route,
    });
    const began = performance.now();
    return within(span, async () => {
      let status = 0;
      try {
        const answer = await this.#attempt(call, method, span.headers());
        status = answer.status;
        span.set({ "http.response.status_code": status });
        if (status >= 500) throw new Unreachable(this.name, status === 503 ? 503 : 502, `answered ${status}`);
        return answer;
      } finally {
        telemetry.duration("http.client.request.duration", (performance.now() - began) / 1_000, {
          "http.request.method": method,
          "peer.service": this.name,
          "http.response.status_code": status,
        });
      }
    });
  }

  async #attempt(call: Call, method: string, carried: Record<string, string>): Promise<Answer> {
    const repeatable = call.repeatable ?? method === "GET";
    const deadline = performance.now() + (call.timeoutMs ?? 1_500);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#once(call, method, carried, deadline - performance.now());
      } catch (error) {
        if (!repeatable || attempt === 2 || error instanceof Unreachable || performance.now() > deadline) {
          if (error instanceof Refusal) throw error;
          throw new Unreachable(this.name, 502, "could not be reached", error);
        }
      }
    }
  }

  #once(call: Call, method: string, carried: Record<string, string>, budgetMs: number): Promise<Answer> {
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    return new Promise((done, failed) => {
      const sent = send(new URL(call.path, this.#base), {
        method,
        agent: this.#agent,
        headers: {
          accept: "application/json",
          ...(body === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) }),
          ...(call.user ? { "x-user-id": call.user } : {}),
          ...call.headers,
          ...carried,
        },
      });
      const timer = setTimeout(() => sent.destroy(new Unreachable(this.name, 504, "did not answer in time")), Math.max(budgetMs, 1));
      const finish = (end: () => void) => {
        clearTimeout(timer);
        end();
      };
      sent.on("error", (error) => finish(() => failed(error)));
      sent.on("response", (response) => {
        readAnswer(response).then(
          (answer) => finish(() => done(answer)),
          (error: unknown) => finish(() => failed(error)),
        );
      });
      sent.end(body);
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

async function readAnswer(response: IncomingMessage): Promise<Answer> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of response) {
    size += (part as Buffer).length;
    if (size > ANSWER_BYTES_MAX) throw new Error(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`);
    parts.push(part as Buffer);
  }
  const status = response.statusCode ?? 0;
  if (!/json/.test(response.headers["content-type"] ?? "")) return { status, body: {} };
  return { status, body: JSON.parse(Buffer.concat(parts).toString("utf8")) as Record<string, unknown> };
}
