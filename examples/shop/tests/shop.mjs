// Starts the five services as their own processes, as a platform would: free ports, bindings and a
// data directory in the environment, nothing else.

import { spawn, spawnSync } from "node:child_process";
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const POSTGRES = "/usr/lib/postgresql/15/bin";
const REDIS = "/usr/bin/redis-server";
/** PostgreSQL refuses to run as root; `nobody` exists on every Debian. */
const NOBODY = process.getuid?.() === 0 ? 65_534 : undefined;

export const TOKEN = "switch-the-faults";

export const lacksEngines = () =>
  existsSync(join(POSTGRES, "initdb")) && existsSync(REDIS) ? false : `${POSTGRES}/initdb or ${REDIS} is not installed`;

export function freePort() {
  return new Promise((done, failed) => {
    const server = createServer();
    server.once("error", failed);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

/** There is nothing left to wait for. */
class Ended extends Error {}

/** Waits until `check` gives something, with a deadline and the reason of the last failure. */
export async function until(what, check, budgetMs = 20_000) {
  const deadline = Date.now() + budgetMs;
  let last;
  while (Date.now() < deadline) {
    try {
      const result = await check();
      if (result) return result;
    } catch (error) {
      if (error instanceof Ended) throw error;
      last = error;
    }
    await new Promise((done) => setTimeout(done, 25));
  }
  throw new Error(`${what}: not within ${budgetMs} ms`, { cause: last });
}

export class Shop {
  /** The latest process of each service, and all that were ever started. */
  #processes = new Map();
  #started = new Set();
  #cleanups = [];
  logs = new Map();

  static async start({ profile = "embedded", env = {}, ports } = {}) {
    const shop = new Shop();
    shop.dir = mkdtempSync(join(tmpdir(), "shop-test-"));
    shop.env = env;
    try {
      shop.bindings = profile === "platform" ? await shop.#engines() : {};
      shop.ports = ports ?? {};
      for (const name of ["catalog", "cart", "payments", "checkout", "web"]) shop.ports[name] ??= await freePort();
      await Promise.all(Object.keys(shop.ports).map((name) => shop.run(name)));
    } catch (error) {
      await shop.stop();
      throw error;
    }
    return shop;
  }

  url(name, path = "") {
    return `http://127.0.0.1:${this.ports[name]}${path}`;
  }

  /** Starts a service and waits until it is ready; `ready: false` only starts it. */
  async run(name, { env = {}, ready = true } = {}) {
    const urls = Object.fromEntries(Object.keys(this.ports).map((one) => [`${one.toUpperCase()}_URL`, this.url(one)]));
    const child = spawn(process.execPath, ["--max-old-space-size=64", "dist/server.mjs"], {
      cwd: join(root, name),
      env: {
        PATH: process.env.PATH,
        PORT: String(this.ports[name]),
        STEAD_DATA_DIR: join(this.dir, name),
        FAULTS_TOKEN: TOKEN,
        ...urls,
        ...(name === "catalog" || name === "checkout" ? { DATABASE_URL: this.bindings.database } : {}),
        ...(name === "cart" ? { REDIS_URL: this.bindings.redis } : {}),
        ...this.env[name],
        ...env,
      },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const lines = [];
    this.logs.set(name, lines);
    let rest = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      const parts = (rest + text).split("\n");
      rest = parts.pop();
      for (const line of parts) lines.push(JSON.parse(line));
    });
    child.exited = new Promise((done) => child.once("exit", (code, signal) => done({ code, signal })));
    this.#processes.set(name, child);
    this.#started.add(child);
    if (ready) {
      await until(`${name} ready`, async () => {
        if (child.exitCode !== null) throw new Ended(`${name} ended with ${child.exitCode}: ${JSON.stringify(lines.at(-1))}`);
        return (await get(this.url(name, "/ready"))).status === 200;
      });
    }
    return child;
  }

  process(name) {
    return this.#processes.get(name);
  }

  async end(name, signal) {
    const child = this.#processes.get(name);
    child.kill(signal);
    return child.exited;
  }

  faults(name, text) {
    return send("PUT", this.url(name, "/faults"), text, { authorization: `Bearer ${TOKEN}` });
  }

  async stop() {
    for (const child of this.#started) {
      child.kill("SIGKILL");
      await child.exited;
    }
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
    rmSync(this.dir, { recursive: true, force: true });
  }

  /** PostgreSQL and Redis of this test alone, as an unprivileged user, in the temporary directory. */
  async #engines() {
    const data = join(this.dir, "engines");
    mkdirSync(data, { mode: 0o755 });
    const as = NOBODY === undefined ? {} : { uid: NOBODY, gid: NOBODY };
    spawnSync("chmod", ["755", this.dir]);
    if (NOBODY !== undefined) chownSync(data, NOBODY, NOBODY);
    const env = { PATH: process.env.PATH, LC_ALL: "C.UTF-8" };
    const postgres = join(data, "postgres");
    const made = spawnSync(join(POSTGRES, "initdb"), ["-D", postgres, "-U", "shop", "--auth=trust", "-E", "UTF8", "--no-sync"], { ...as, env });
    if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`);
    const [databasePort, redisPort] = [await freePort(), await freePort()];
    const launch = (program, args) => {
      const child = spawn(program, args, { ...as, env, cwd: data, stdio: "ignore" });
      const exited = new Promise((done) => child.once("exit", done));
      // SIGINT is PostgreSQL's fast shutdown.
      this.#cleanups.push(() => (child.kill("SIGINT"), exited));
    };
    launch(join(POSTGRES, "postgres"), ["-D", postgres, "-p", databasePort, "-k", data, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=60", "-c", "shared_buffers=16MB"].map(String));
    launch(REDIS, ["--port", redisPort, "--bind", "127.0.0.1", "--save", "", "--dir", data].map(String));
    await until("postgresql", () => spawnSync(join(POSTGRES, "pg_isready"), ["-h", "127.0.0.1", "-p", String(databasePort)]).status === 0);
    return { database: `postgres://shop@127.0.0.1:${databasePort}/postgres`, redis: `redis://127.0.0.1:${redisPort}` };
  }
}

// One connection per request, so that no answer depends on what another test left open.
const agent = new Agent({ keepAlive: false });

export function send(method, url, body, headers = {}, timeoutMs = 10_000) {
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  const type = text === undefined || typeof body === "string" ? {} : { "content-type": "application/json" };
  return new Promise((done, failed) => {
    const sent = request(url, { method, agent, headers: { ...type, ...headers }, timeout: timeoutMs }, (answer) => {
      const parts = [];
      answer.on("data", (part) => parts.push(part));
      answer.on("error", failed);
      answer.on("end", () => {
        const content = Buffer.concat(parts).toString("utf8");
        const isJson = /json/.test(answer.headers["content-type"] ?? "");
        done({ status: answer.statusCode, headers: answer.headers, text: content, body: isJson ? JSON.parse(content) : undefined });
      });
    });
    sent.on("timeout", () => sent.destroy(new Error(`no answer from ${url} within ${timeoutMs} ms`)));
    sent.on("error", failed);
    sent.end(text);
  });
}

export const get = (url, headers, timeoutMs) => send("GET", url, undefined, headers, timeoutMs);

/** A customer of the store front who speaks JSON. */
export class Customer {
  constructor(shop, user) {
    this.shop = shop;
    this.headers = { accept: "application/json", cookie: `shop_user=${user}` };
  }

  get(path) {
    return get(this.shop.url("web", path), this.headers);
  }

  add(sku, quantity = 1) {
    return send("POST", this.shop.url("web", "/cart/items"), { sku, quantity }, this.headers);
  }

  buy({ key, card = "4242 4242 4242 4242" } = {}) {
    const order = { name: "Ada Lovelace", address: "12 St James’s Square", city: "London SW1", card };
    return send("POST", this.shop.url("web", "/checkout"), order, { ...this.headers, ...(key ? { "idempotency-key": key } : {}) });
  }
}

