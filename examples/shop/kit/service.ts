/**
 * The life of a service: start listening at once, become ready when what it needs is there, answer
 * within bounds, and on SIGTERM finish what was begun.
 */

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { FaultSwitch } from "./faults.ts";
import { findRoute, json, problem, Refusal, type Reply, Request, type Route, USER } from "./http.ts";
import { log, nameLogs, reason } from "./log.ts";
import { readSettings, type Settings } from "./settings.ts";
import { startTelemetry, telemetry, within } from "./telemetry.ts";

/** More requests than this at once are turned away with 503 while the rest stay fast. */
const IN_FLIGHT_MAX = 256;
const REQUEST_TIMEOUT_MS = 15_000;
/** Longer than a proxy keeps an idle connection, so that the proxy is the one to close it. */
const KEEP_ALIVE_MS = 75_000;
/** How long new requests are still answered after SIGTERM, for callers that have not heard yet. */
const LINGER_MS = 300;
/** Below the 10 s of grace in `stead.yaml`. */
const DRAIN_MS = 8_000;
const START_RETRY_MS = 250;

export interface Parts {
  routes: Route[];
  /** Shown on /info and in the log; says which profile this is. */
  info: Record<string, unknown>;
  /** Connects and migrates. Called again until it succeeds; the service is not ready before. */
  start?: () => Promise<void>;
  /** Throws when the service can't serve now. */
  check?: () => Promise<void>;
  close?: () => Promise<void>;
  /** How failures look; the web front renders pages instead of JSON. */
  failure?: (request: Request, status: number, code: string, message: string) => Promise<Reply>;
  /** Who is asking, when it isn't the `x-user-id` header that says so. */
  userOf?: (request: Request) => string | undefined;
}

export async function runService(name: string, build: (settings: Settings) => Promise<Parts>): Promise<void> {
  nameLogs(name);
  process.on("unhandledRejection", (error) => die("unhandled rejection", error));
  process.on("uncaughtException", (error) => die("uncaught exception", error));
  try {
    const settings = readSettings(name);
    await startTelemetry(name, settings.release);
    await new Running(name, settings, await build(settings)).listen();
  } catch (error) {
    die("could not start", error);
  }
}

function die(what: string, error: unknown): never {
  log.error(what, { error: reason(error), stack: error instanceof Error ? error.stack : undefined });
  process.exit(1);
}

class Running {
  readonly #server: Server;
  readonly #faults: FaultSwitch;
  #started = false;
  #stopping = false;
  #inFlight = 0;
  #startProblem = "starting";

  constructor(
    readonly name: string,
    readonly settings: Settings,
    readonly parts: Parts,
  ) {
    this.#faults = new FaultSwitch(settings.dataDir);
    this.#server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS, requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: 10_000 });
    this.#server.on("request", (message, response) => void this.#answer(message, response));
    telemetry.gauge("process.memory.usage", "By", () => process.memoryUsage.rss());
    telemetry.gauge("http.server.active_requests", "{request}", () => this.#inFlight);
  }

  async listen(): Promise<void> {
    await new Promise<void>((done, failed) => {
      this.#server.once("error", failed);
      this.#server.listen(this.settings.port, "127.0.0.1", done);
    });
    const address = this.#server.address();
    const port = typeof address === "object" ? address?.port : this.settings.port;
    log.info("listening", { port, release: this.settings.release, started_ms: Math.round(performance.now()), ...this.parts.info });
    for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void this.#stop(signal));
    await this.#start();
  }

  async #start(): Promise<void> {
    for (let failures = 0; !this.#stopping; failures++) {
      try {
        await this.parts.start?.();
        this.#started = true;
        log.info("ready", { after_ms: Math.round(performance.now()) });
        return;
      } catch (error) {
        this.#startProblem = reason(error);
        if (failures % 20 === 0) log.warn("not ready yet", { error });
        await new Promise((done) => setTimeout(done, START_RETRY_MS));
      }
    }
  }

  async #answer(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const method = message.method ?? "GET";
    const target = message.url ?? "/";
    response.on("error", () => {});
    // `//host/path` would be read as an address of its own.
    if (!target.startsWith("/") || target.startsWith("//") || !URL.canParse(target, "http://shop.local")) {
      return send(response, method, problem(400, "bad_target", "the request target is not a path"), true);
    }
    const url = new URL(target, "http://shop.local");
    const infrastructure = await this.#infrastructure(message, method, url);
    if (infrastructure === "hang") return;
    if (infrastructure) return send(response, method, infrastructure, this.#stopping);

    const match = findRoute(this.parts.routes, method, url.pathname);
    const route = typeof match === "object" ? match.route.path : "unknown";
    const request = new Request(message, url, typeof match === "object" ? match.params : {});
    const began = performance.now();
    const span = telemetry.server(`${method} ${route}`, message.headers, {
      "http.request.method": method,
      "http.route": route,
      "url.path": url.pathname,
    });
    this.#inFlight++;
    try {
      await within(span, async () => {
        const reply = await this.#reply(request, match);
        if (!reply) return;
        span.set({ "http.response.status_code": reply.status });
        if (reply.status >= 500) span.fail(new Error(`answered ${reply.status}`));
        const seconds = (performance.now() - began) / 1_000;
        telemetry.duration("http.server.request.duration", seconds, {
          "http.request.method": method,
          "http.route": route,
          "http.response.status_code": reply.status,
        });
        log.debug("request", { method, path: url.pathname, status: reply.status, ms: Math.round(seconds * 1_000) });
        reply.headers = { ...reply.headers, "x-trace-id": span.traceId };
        send(response, method, reply, this.#stopping);
      });
    } finally {
      this.#inFlight--;
    }
  }

  /** None when the fault switch says that nobody shall get an answer. */
  async #reply(request: Request, match: ReturnType<typeof findRoute>): Promise<Reply | undefined> {
    const user = this.parts.userOf ? this.parts.userOf(request) : request.header("x-user-id");
    try {
      if (this.#inFlight > IN_FLIGHT_MAX) throw new Refusal(503, "overloaded", `more than ${IN_FLIGHT_MAX} requests at once`);
      const verdict = await this.#faults.meet(user && USER.test(user) ? user : undefined);
      if (verdict === "hang") return undefined;
      if (verdict === "fail") throw new Error("fault: error");
      if (match === undefined) throw new Refusal(404, "not_found", "there is nothing here");
      if (match === "other") throw new Refusal(405, "bad_method", `this does not take ${request.method}`);
      if (!this.#started) throw new Refusal(503, "starting", "the service is not ready yet");
      return await match.route.handle(request);
    } catch (error) {
      return await this.#failed(request, error);
    }
  }

  async #failed(request: Request, error: unknown): Promise<Reply> {
    const refusal = error instanceof Refusal ? error : new Refusal(500, "internal", "something broke here");
    if (refusal.status >= 500) {
      log.error("request failed", { method: request.method, path: request.url.pathname, status: refusal.status, error: reason(error) });
    }
    if (this.parts.failure) return this.parts.failure(request, refusal.status, refusal.code, refusal.message);
    return problem(refusal.status, refusal.code, refusal.message, refusal.extra);
  }

  /** What the platform asks; free of faults, but for a whole hang, which is what it must notice. */
  async #infrastructure(message: IncomingMessage, method: string, url: URL): Promise<Reply | "hang" | undefined> {
    switch (url.pathname) {
      case "/live":
        return this.#faults.hangsWhole ? "hang" : json(200, { status: "live" });
      case "/ready":
        return this.#faults.hangsWhole ? "hang" : this.#ready();
      case "/info":
        return json(200, { service: this.name, release: this.settings.release, ...this.parts.info });
      case "/faults":
        return this.#switchFaults(message, method, url);
      default:
        return undefined;
    }
  }

  async #ready(): Promise<Reply> {
    if (this.#stopping) return problem(503, "stopping", "the service is stopping");
    if (!this.#started) return problem(503, "starting", this.#startProblem);
    try {
      await this.parts.check?.();
      return json(200, { status: "ready" });
    } catch (error) {
      return problem(503, "not_ready", reason(error));
    }
  }

  async #switchFaults(message: IncomingMessage, method: string, url: URL): Promise<Reply> {
    // The same answer as for any unknown path: nobody without the token learns that it exists.
    if (!this.#faults.allows(message.headers.authorization)) return problem(404, "not_found", "there is nothing here");
    if (method === "PUT" || method === "POST") {
      try {
        this.#faults.set(await new Request(message, url, {}).text());
      } catch (error) {
        return problem(400, "bad_faults", reason(error));
      }
    } else if (method === "DELETE") this.#faults.set("");
    return json(200, { faults: this.#faults.text });
  }

  async #stop(signal: string): Promise<void> {
    this.#stopping = true;
    const began = performance.now();
    log.info("stopping", { signal, in_flight: this.#inFlight });
    await new Promise((done) => setTimeout(done, LINGER_MS));
    const closed = new Promise<void>((done) => this.#server.close(() => done()));
    this.#server.closeIdleConnections();
    const late = new Promise<"late">((done) => setTimeout(() => done("late"), DRAIN_MS).unref());
    if ((await Promise.race([closed, late])) === "late") {
      log.warn("requests were still running at the end of the grace", { in_flight: this.#inFlight });
      this.#server.closeAllConnections();
    }
    await Promise.race([this.parts.close?.(), new Promise((done) => setTimeout(done, 1_000).unref())]);
    await telemetry.close();
    log.info("stopped", { after_ms: Math.round(performance.now() - began) });
    process.exit(0);
  }
}

function send(response: ServerResponse, method: string, reply: Reply, last: boolean): void {
  if (response.destroyed) return;
  const body = reply.body ?? "";
  response.statusCode = reply.status;
  for (const [name, value] of Object.entries(reply.headers ?? {})) response.setHeader(name, value);
  response.setHeader("content-length", Buffer.byteLength(body));
  // The unread rest of a refused body would be taken for the next request.
  if (last || reply.status === 413) response.setHeader("connection", "close");
  response.end(method === "HEAD" ? undefined : body);
}
