/** Where carts are kept: Redis where it is bound, else this process's own memory. */

import { createClient } from "@redis/client";
import { Refusal } from "../kit/http.ts";
import { log } from "../kit/log.ts";
import { telemetry, within } from "../kit/telemetry.ts";

export interface Line {
  sku: string;
  quantity: number;
}

export interface Cart {
  lines: Line[];
  /** Grows with every change, so that a checkout empties only the cart it has sold. */
  version: number;
}

export interface CartStore {
  readonly kind: "redis" | "memory";
  get(user: string): Promise<Cart>;
  /** Adds to a line, or with `exactly` sets it; a line of nothing goes away. */
  put(user: string, sku: string, quantity: number, exactly: boolean): Promise<Cart>;
  /** Empties the cart if it is still at `version`. */
  settle(user: string, version: number): Promise<boolean>;
  connect(): Promise<void>;
  check(): Promise<void>;
  close(): Promise<void>;
}

export const LINES_MAX = 30;
export const QUANTITY_MAX = 20;
/** Carts kept in memory; the one untouched for longest makes room. */
export const CARTS_MAX = 20_000;
const KEPT_SECONDS = 7 * 24 * 3_600;
const COMMAND_TIMEOUT_MS = 1_000;
const COMMANDS_WAITING_MAX = 1_000;

const full = () => new Refusal(409, "cart_full", `a cart holds at most ${LINES_MAX} different things`);

export class MemoryCarts implements CartStore {
  readonly kind = "memory";
  readonly #carts = new Map<string, { lines: Map<string, number>; version: number }>();

  constructor(readonly cartsMax = CARTS_MAX) {}

  async get(user: string): Promise<Cart> {
    const cart = this.#carts.get(user);
    if (!cart) return { lines: [], version: 0 };
    return { lines: [...cart.lines].map(([sku, quantity]) => ({ sku, quantity })), version: cart.version };
  }

  async put(user: string, sku: string, quantity: number, exactly: boolean): Promise<Cart> {
    const cart = this.#carts.get(user) ?? { lines: new Map<string, number>(), version: 0 };
    const before = cart.lines.get(sku) ?? 0;
    if (before === 0 && quantity > 0 && cart.lines.size >= LINES_MAX) throw full();
    const after = Math.min(exactly ? quantity : before + quantity, QUANTITY_MAX);
    if (after > 0) cart.lines.set(sku, after);
    else cart.lines.delete(sku);
    cart.version++;
    this.#carts.delete(user);
    this.#carts.set(user, cart);
    if (this.#carts.size > this.cartsMax) this.#carts.delete(this.#carts.keys().next().value!);
    return this.get(user);
  }

  async settle(user: string, version: number): Promise<boolean> {
    const cart = this.#carts.get(user);
    if (cart?.version !== version) return false;
    // The version goes on, so that a late settle of this sale can't empty the next cart.
    cart.lines.clear();
    cart.version++;
    return true;
  }

  async connect(): Promise<void> {}
  async check(): Promise<void> {}
  async close(): Promise<void> {}
}

/** One hash per cart; `#` counts its changes. A script is one step for everybody else. */
const PUT = `
local before = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
local wanted = tonumber(ARGV[2])
if before == 0 and wanted > 0 and redis.call('HLEN', KEYS[1]) - redis.call('HEXISTS', KEYS[1], '#') >= tonumber(ARGV[4]) then
  return redis.error_reply('FULL')
end
if ARGV[3] == '0' then wanted = before + wanted end
wanted = math.min(wanted, tonumber(ARGV[5]))
if wanted > 0 then redis.call('HSET', KEYS[1], ARGV[1], wanted) else redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HINCRBY', KEYS[1], '#', 1)
redis.call('EXPIRE', KEYS[1], ARGV[6])
return redis.call('HGETALL', KEYS[1])`;

const SETTLE = `
if redis.call('HGET', KEYS[1], '#') ~= ARGV[1] then return 0 end
local version = tonumber(ARGV[1]) + 1
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], '#', version)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1`;

export class RedisCarts implements CartStore {
  readonly kind = "redis";
  readonly #client;
  #warned = false;

  constructor(url: string) {
    this.#client = createClient({
      url,
      // Without a connection a command fails at once instead of waiting for one.
      disableOfflineQueue: true,
      commandsQueueMaxLength: COMMANDS_WAITING_MAX,
      commandOptions: { timeout: COMMAND_TIMEOUT_MS },
      socket: { connectTimeout: 2_000, reconnectStrategy: (attempts: number) => Math.min(50 * 2 ** attempts, 1_000) },
    });
    this.#client.on("error", (error: unknown) => {
      if (!this.#warned) log.warn("redis can't be reached", { error });
      this.#warned = true;
    });
    this.#client.on("ready", () => (this.#warned = false));
  }

  get(user: string): Promise<Cart> {
    return this.#run("HGETALL", async () => toCart(Object.entries(await this.#client.hGetAll(key(user)))));
  }

  put(user: string, sku: string, quantity: number, exactly: boolean): Promise<Cart> {
    return this.#run("EVAL put", async () => {
      try {
        const flat = (await this.#client.eval(PUT, {
          keys: [key(user)],
          arguments: [sku, quantity, exactly ? 1 : 0, LINES_MAX, QUANTITY_MAX, KEPT_SECONDS].map(String),
        })) as string[];
        const pairs: [string, string][] = [];
        for (let at = 0; at + 1 < flat.length; at += 2) pairs.push([flat[at]!, flat[at + 1]!]);
        return toCart(pairs);
      } catch (error) {
        if (error instanceof Error && error.message.includes("FULL")) throw full();
        throw error;
      }
    });
  }

  settle(user: string, version: number): Promise<boolean> {
    return this.#run("EVAL settle", async () => {
      const done = await this.#client.eval(SETTLE, { keys: [key(user)], arguments: [String(version), String(KEPT_SECONDS)] });
      return done === 1;
    });
  }

  async connect(): Promise<void> {
    // The client goes on connecting by itself, and its promise waits for that.
    if (!this.#client.isOpen) void this.#client.connect().catch(() => {});
    if (!this.#client.isReady) throw new Error("redis can't be reached");
  }

  async check(): Promise<void> {
    if (!this.#client.isReady) throw new Error("redis can't be reached");
    await this.#client.ping();
  }

  async close(): Promise<void> {
    if (this.#client.isOpen) await this.#client.close();
  }

  #run<T>(command: string, work: () => Promise<T>): Promise<T> {
    const span = telemetry.child("client", command, { "db.system.name": "redis", "db.operation.name": command });
    return within(span, async () => {
      try {
        return await work();
      } catch (error) {
        if (error instanceof Refusal) throw error;
        throw new Refusal(503, "store", "the cart store does not answer", { cause: error instanceof Error ? error.message : "" });
      }
    });
  }
}

const key = (user: string) => `shop:cart:${user}`;

function toCart(pairs: [string, string][]): Cart {
  const cart: Cart = { lines: [], version: 0 };
  for (const [name, value] of pairs) {
    if (name === "#") cart.version = Number(value);
    else cart.lines.push({ sku: name, quantity: Number(value) });
  }
  return cart;
}
