/** Routes, requests and replies: the little that a service needs of a web framework. */

import type { IncomingMessage } from "node:http";

/** A larger body is refused before it is read. The largest real one is a checkout of 50 lines. */
export const BODY_BYTES_MAX = 64 * 1024;

/** Said to the caller as it is. Everything else that is thrown becomes a 500 without details. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly extra: Record<string, unknown> = {},
  ) {
    super(message);
  }
}

export interface Reply {
  status: number;
  headers?: Record<string, string | string[]>;
  body?: string | Buffer;
}

export const json = (status: number, value: unknown): Reply => ({
  status,
  headers: { "content-type": "application/json", "cache-control": "no-store" },
  body: JSON.stringify(value),
});

export const problem = (status: number, code: string, message: string, extra: Record<string, unknown> = {}): Reply => ({
  status,
  headers: { "content-type": "application/problem+json", "cache-control": "no-store" },
  body: JSON.stringify({ code, message, ...extra }),
});

export class Request {
  readonly url: URL;
  readonly params: Record<string, string>;
  readonly #message: IncomingMessage;

  constructor(message: IncomingMessage, url: URL, params: Record<string, string>) {
    this.#message = message;
    this.url = url;
    this.params = params;
  }

  get method(): string {
    return this.#message.method ?? "GET";
  }

  header(name: string): string | undefined {
    const value = this.#message.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  param(name: string): string {
    const value = this.params[name];
    if (value === undefined) throw new Error(`the route has no parameter "${name}"`);
    return value;
  }

  cookie(name: string): string | undefined {
    for (const pair of (this.header("cookie") ?? "").split(";")) {
      const cut = pair.indexOf("=");
      if (cut > 0 && pair.slice(0, cut).trim() === name) return pair.slice(cut + 1).trim();
    }
    return undefined;
  }

  /** A whole number of the query, kept inside its bounds rather than refused. */
  number(name: string, otherwise: number, min: number, max: number): number {
    const value = Number.parseInt(this.url.searchParams.get(name) ?? "", 10);
    return Number.isNaN(value) ? otherwise : Math.min(Math.max(value, min), max);
  }

  async text(): Promise<string> {
    if (Number(this.header("content-length") ?? 0) > BODY_BYTES_MAX) throw tooLarge();
    const parts: Buffer[] = [];
    let size = 0;
    for await (const part of this.#message) {
      size += (part as Buffer).length;
      if (size > BODY_BYTES_MAX) throw tooLarge();
      parts.push(part as Buffer);
    }
    return Buffer.concat(parts).toString("utf8");
  }

  async json(): Promise<Record<string, unknown>> {
    let value: unknown;
    try {
      value = JSON.parse(await this.text());
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw new Refusal(400, "bad_json", "the body is not JSON");
    }
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new Refusal(400, "bad_json", "the body is not a JSON object");
    }
    return value as Record<string, unknown>;
  }
}

const tooLarge = () => new Refusal(413, "too_large", `the body is larger than ${BODY_BYTES_MAX} bytes`);

export type Handler = (request: Request) => Promise<Reply>;

export interface Route {
  method: "GET" | "POST" | "PUT" | "DELETE";
  /** Such as `/products/:sku`. */
  path: string;
  handle: Handler;
}

export interface Match {
  route: Route;
  params: Record<string, string>;
}

/** The route for a request; `other` when only the method is wrong. */
export function findRoute(routes: Route[], method: string, path: string): Match | "other" | undefined {
  const asked = path.split("/");
  let other = false;
  for (const route of routes) {
    const params = fits(route.path.split("/"), asked);
    if (!params) continue;
    if (route.method === method || (route.method === "GET" && method === "HEAD")) return { route, params };
    other = true;
  }
  return other ? "other" : undefined;
}

function fits(wanted: string[], asked: string[]): Record<string, string> | undefined {
  if (wanted.length !== asked.length) return undefined;
  const params: Record<string, string> = {};
  for (const [at, part] of wanted.entries()) {
    const given = asked[at] ?? "";
    if (part.startsWith(":")) {
      if (given === "") return undefined;
      try {
        params[part.slice(1)] = decodeURIComponent(given);
      } catch {
        return undefined;
      }
    } else if (part !== given) return undefined;
  }
  return params;
}

/** Field checks that name the field. */
export function textField(body: Record<string, unknown>, name: string, max: number, pattern?: RegExp): string {
  const value = body[name];
  if (typeof value !== "string" || value.trim() === "") {
    throw new Refusal(400, "bad_field", `"${name}" is missing or not text`, { field: name });
  }
  if (value.length > max || (pattern && !pattern.test(value))) {
    throw new Refusal(400, "bad_field", `"${name}" is not acceptable`, { field: name });
  }
  return value.trim();
}

export function numberField(body: Record<string, unknown>, name: string, min: number, max: number): number {
  const value = body[name];
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw new Refusal(400, "bad_field", `"${name}" is not a whole number from ${min} to ${max}`, { field: name });
  }
  return value;
}

export const USER = /^[A-Za-z0-9_-]{3,64}$/;
export const SKU = /^[a-z0-9-]{2,40}$/;
