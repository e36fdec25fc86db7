import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { iso, type All } from "./basics";
import { apply, rotate } from "./plans";
import { servePrometheus } from "./prometheus";
import { World } from "./world";

/** Stands in for `/api/stead/v1` in the tests of the pages. It keeps the rules that pages depend on. */

const BASE = "/api/stead/v1";
const DIST = new URL("../../dist/", import.meta.url).pathname;
const TYPES: Record<string, string> = { ".js": "text/javascript", ".css": "text/css", ".html": "text/html; charset=utf-8", ".svg": "image/svg+xml", ".woff2": "font/woff2" };

export interface Backend {
  url: string;
  /** The one-time part of a sign-in link; here it works any number of times. */
  link: string;
  world: World;
  /** Breaks what matches, until it is called again without a pattern. */
  fail: (pattern?: RegExp) => void;
  /** Never answers what matches. */
  stall: (pattern?: RegExp) => void;
  /** Ends all event streams and refuses new ones while `on`. */
  cut: (on: boolean) => void;
  close: () => Promise<void>;
}

type Query = URLSearchParams;
interface Call {
  parts: string[];
  query: Query;
  body: Record<string, unknown>;
  me: All["Person"];
}
class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint?: string,
  ) {
    super(message);
  }
}

export async function startBackend(options: { empty?: boolean; port?: number; now?: () => number } = {}): Promise<Backend> {
  const world = new World(options.now ?? Date.now, options.empty);
  const sessions = new Map<string, { person: string; csrf: string }>();
  const links = new Map<string, string>([["fixture-link", "per_ines"], ["viewer-link", "per_audit"]]);
  const streams = new Set<ServerResponse>();
  let failing: RegExp | undefined;
  let stalling: RegExp | undefined;
  let isCut = false;

  const need = <T>(thing: T | undefined, what: string): T => {
    if (thing === undefined) throw new Refusal(404, "api.not_found", `${what} does not exist`, "Look at the list: it may have been removed.");
    return thing;
  };
  const elsewhere = (query: Query) => (query.get("environment") ?? "default") !== world.home;
  const actor = (call: Call) => `user:${call.me.id}`;
  const newLink = (person: All["Person"]): All["SignInLink"] => {
    const word = randomBytes(12).toString("hex");
    links.set(word, person.id);
    return { person, url: `${url}/sign-in#${word}`, expires_at: iso(world.now() + 24 * 3_600_000) };
  };
  const filtered = (query: Query): All["Event"][] => {
    const is = (key: "subject" | "actor" | "correlation", event: All["Event"]) => !query.get(key) || event[key] === query.get(key);
    const found = world.events.filter(
      (event) => is("subject", event) && is("actor", event) && is("correlation", event) && event.kind.startsWith(query.get("kind") ?? "") && event.at >= (query.get("from") ?? "") && event.at < (query.get("to") ?? "9"),
    );
    return query.get("descending") === "true" ? found.reverse() : found;
  };

  const routes: Record<string, (call: Call) => unknown> = {
    "GET /info": () => ({
      version: "0.1.0",
      started_at: iso(world.born - 3 * 86_400_000),
      tenant: "default",
      environments: options.empty ? ["default"] : ["default", "staging"],
      api: url,
      gateway: "http://127.0.0.1:8080",
      findings: [
        { name: "cgroups", state: "degraded", message: "memory limits are kept by rlimit, because no cgroup is granted to Stead", hint: "run Stead as a systemd unit: stead service install" },
        { name: "postgresql", state: "ok", message: "15.8" },
      ],
    }),
    "GET /services": ({ query }) => (elsewhere(query) ? [] : world.things.map((thing) => world.service(thing))),
    "GET /services/*": ({ parts }) => world.detail(need(world.find(parts[1]!), `service ${parts[1]}`)),
    "POST /services/*/restart": (call) => void world.restart(need(world.find(call.parts[1]!), "the service").name, actor(call), call.body.why as string),
    "POST /services/*/scale": (call) => void world.scale(need(world.find(call.parts[1]!), "the service").name, Number(call.body.replicas), actor(call), call.body.why as string),
    "POST /services/*/jobs/*/run": (call) => void world.record("d", `svc_${call.parts[1]}`, "stead.job.ended.v1", actor(call), String(call.body.why ?? "asked for"), {}),
    "GET /services/*/traffic": ({ parts, query }) => world.traffic(need(world.find(parts[1]!), "the service").name, Number(query.get("seconds") ?? 900)),
    "GET /services/*/logs": ({ parts, query }) =>
      world
        .logs(need(world.find(parts[1]!), "the service").name, Number(query.get("tail") ?? 200))
        .filter((line) => line.text.toLowerCase().includes((query.get("contains") ?? "").toLowerCase()) && (!query.get("replica") || line.replica === query.get("replica"))),
    "POST /services/*/exec": (call) => {
      need(world.find(call.parts[1]!), "the service");
      const [program, ...rest] = call.body.command as string[];
      if (program === "echo") return { code: 0, stdout: `${rest.join(" ")}\n`, stderr: "" };
      return { code: 127, stdout: "", stderr: `${program}: not found\n` };
    },
    "GET /map": ({ query }) => (elsewhere(query) ? { nodes: [], edges: [] } : world.map()),
    "GET /plans": () => world.plans,
    "POST /plans": (call) => {
      const rotation = need((call.body as unknown as All["Submission"]).rotation ?? undefined, "the rotation");
      return rotate(world, rotation.service, rotation.need ?? "", actor(call));
    },
    "GET /plans/*": ({ parts }) => need(world.plans.find((plan) => plan.id === parts[1]), `plan ${parts[1]}`),
    "POST /plans/*/apply": (call) => {
      const plan = need(world.plans.find((each) => each.id === call.parts[1]), "the plan");
      if (plan.state === "stale") throw new Refusal(409, "plan.stale", "what the plan was made from has changed since", "Make a new one: stead plan PATH");
      return apply(world, plan, actor(call));
    },
    "GET /runs": () => world.runs,
    "GET /runs/*": ({ parts }) => need(world.runs.find((run) => run.id === parts[1]), `run ${parts[1]}`),
    "POST /runs/*/cancel": ({ parts }) => {
      const run = need(world.runs.find((each) => each.id === parts[1]), "the run");
      run.state = "cancelled";
      run.ended_at = iso(world.now());
      world.announce("run", run.id);
    },
    "GET /events": ({ query }) => {
      const found = filtered(query);
      const from = query.get("after") ? found.findIndex((event) => event.seq === Number(query.get("after"))) + 1 : 0;
      const items = found.slice(from, from + Number(query.get("limit") ?? 50));
      return { items, ...(from + items.length < found.length ? { next: String(items.at(-1)?.seq) } : {}) };
    },
    "GET /events/verify": () => ({
      intact: world.intact,
      entries: world.events.length,
      findings: world.intact ? [] : ["entry 12 does not match its hash: its body was changed after it was written"],
      tail_proven: false,
    }),
    "GET /secrets": () => world.secrets,
    "PUT /secrets/*": (call) => {
      const name = decodeURIComponent(call.parts[1]!);
      const known = world.secrets.find((secret) => secret.name === name);
      if (known) {
        known.version += 1;
        known.updated_at = iso(world.now());
        known.updated_by = actor(call);
      } else world.secrets.push({ name, version: 1, updated_at: iso(world.now()), updated_by: actor(call), generated: false, used_by: [] });
      world.record("s", `secret/${name}`, "stead.secret.set.v1", actor(call), "set from the UI", { after: { version: known?.version ?? 1 } });
      world.announce("secret", name);
    },
    "DELETE /secrets/*": ({ parts }) => {
      const name = decodeURIComponent(parts[1]!);
      const secret = need(world.secrets.find((each) => each.name === name), "the secret");
      if (secret.used_by.length > 0) throw new Refusal(409, "secrets.in_use", `${name} is used by ${secret.used_by.join(", ")}`, "Take it out of their stead.yaml first.");
      world.secrets = world.secrets.filter((each) => each !== secret);
      world.announce("secret", name);
    },
    "GET /people": () => world.people,
    "POST /people": (call) => {
      const name = String(call.body.name);
      if (world.people.some((each) => each.name === name)) throw new Refusal(409, "access.name_taken", `somebody is called ${name} already`, "Choose another name.");
      const person: All["Person"] = { id: world.id("per"), name, role: call.body.role as All["Role"], active: true, password: false, created_at: iso(world.now()) };
      world.people.push(person);
      world.record("a", person.id, "stead.person.invited.v1", actor(call), "invited", { after: { role: person.role } });
      return newLink(person);
    },
    "PATCH /people/*": ({ parts, body }) => Object.assign(need(world.people.find((each) => each.id === parts[1]), "the person"), body),
    "POST /people/*/link": ({ parts }) => newLink(need(world.people.find((each) => each.id === parts[1]), "the person")),
    "GET /tokens": () => world.tokens,
    "POST /tokens": (call) => {
      const token: All["Token"] = {
        id: world.id("tok"),
        name: String(call.body.name),
        scopes: call.body.scopes as string[],
        environments: (call.body.environments as string[] | undefined) ?? [],
        created_at: iso(world.now()),
        created_by: actor(call),
        expires_at: iso(world.now() + Number(call.body.days ?? 90) * 86_400_000),
      };
      world.tokens.unshift(token);
      world.record("a", token.id, "stead.token.created.v1", actor(call), "made in the UI", { after: { name: token.name, scopes: token.scopes } });
      return { token, secret: `stead_${randomBytes(24).toString("hex")}` };
    },
    "DELETE /tokens/*": ({ parts }) => {
      need(world.tokens.find((each) => each.id === parts[1]), "the token");
      world.tokens = world.tokens.filter((each) => each.id !== parts[1]);
    },
    "PUT /session/password": (call) => void (call.me.password = true),
  };

  const sessionOf = (request: IncomingMessage) => sessions.get(/stead_session=(\w+)/.exec(request.headers.cookie ?? "")?.[1] ?? "");
  const answer = (response: ServerResponse, status: number, body?: unknown, type = "application/json") => {
    response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
    response.end(body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body));
  };
  const view = (session: { person: string; csrf: string }): All["Session"] => {
    const person = world.people.find((each) => each.id === session.person)!;
    return { person, actor: `user:${person.id}`, role: person.role, csrf: session.csrf, expires_at: iso(world.now() + 8 * 3_600_000) };
  };

  function openStream(response: ServerResponse, start: (send: (data: unknown) => void) => () => void): void {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    response.write(": open\n\n");
    const stop = start((data) => response.write(`data: ${JSON.stringify(data)}\n\n`));
    streams.add(response);
    response.on("close", () => {
      streams.delete(response);
      stop();
    });
  }

  function follow(name: string, query: Query, response: ServerResponse): void {
    openStream(response, (send) => {
      const wanted = (query.get("contains") ?? "").toLowerCase();
      const job = query.get("job");
      if (job) {
        send({ at: iso(world.now()), service: name, replica: "rep_of_a_job", stream: "stdout", text: `run of ${job}` });
        return () => undefined;
      }
      let at = Math.floor(world.now() / 350);
      for (const line of world.logs(name, Number(query.get("tail") ?? 0))) if (line.text.toLowerCase().includes(wanted)) send(line);
      const timer = setInterval(() => {
        at += 1;
        const line = world.logLine(name, world.now(), at);
        if (line.text.toLowerCase().includes(wanted) && (!query.get("replica") || line.replica === query.get("replica"))) send(line);
      }, 350);
      return () => clearInterval(timer);
    });
  }

  async function serveApi(request: IncomingMessage, response: ServerResponse, path: string, query: Query): Promise<void> {
    let text = "";
    for await (const chunk of request) text += chunk;
    const body = text ? JSON.parse(text) : {};
    const method = request.method ?? "GET";
    if (path === "/session" && method === "POST") {
      const person = body.link ? world.people.find((each) => each.id === links.get(body.link)) : world.people.find((each) => each.name === body.name && body.password === "correct horse battery");
      if (!person) throw new Refusal(401, "access.refused", body.link ? "this sign-in link was used before or has run out" : "name and password do not fit", body.link ? "Ask an admin for a new one." : undefined);
      if (!/^(fixture|viewer)-link$/.test(body.link ?? "")) links.delete(body.link);
      const id = randomBytes(16).toString("hex");
      const session = { person: person.id, csrf: randomBytes(8).toString("hex") };
      sessions.set(id, session);
      response.setHeader("set-cookie", `stead_session=${id}; HttpOnly; SameSite=Strict; Path=/`);
      return answer(response, 200, view(session));
    }
    const session = sessionOf(request);
    if (!session) throw new Refusal(401, "access.signed_out", "nobody is signed in", "Sign in first.");
    const me = world.people.find((each) => each.id === session.person)!;
    if (method !== "GET" && request.headers["x-stead-csrf"] !== session.csrf) throw new Refusal(403, "access.csrf", "the change did not come from this page");
    if (path === "/session" && method === "GET") return answer(response, 200, view(session));
    if (path === "/session" && method === "DELETE") {
      sessions.delete(/stead_session=(\w+)/.exec(request.headers.cookie ?? "")![1]!);
      return answer(response, 204);
    }
    if (method !== "GET" && me.role === "viewer" && path !== "/session/password") throw new Refusal(403, "access.denied", "a viewer may not change anything", "Ask an admin for the role operator.");
    const parts = path.slice(1).split("/");
    if (path === "/stream") {
      if (isCut) return void response.destroy();
      return openStream(response, (send) => world.listen(send));
    }
    if (parts[2] === "logs" && parts[3] === "stream") {
      if (isCut) return void response.destroy();
      return follow(parts[1]!, query, response);
    }
    if (path === "/events/export") return answer(response, 200, filtered(query).map((event) => JSON.stringify(event)).join("\n"), "application/x-ndjson");
    const call: Call = { parts: parts.map(decodeURIComponent), query, body, me };
    for (const [route, act] of Object.entries(routes)) {
      const [verb, pattern] = route.split(" ") as [string, string];
      const wanted = pattern.slice(1).split("/");
      if (verb !== method || wanted.length !== parts.length || !wanted.every((word, at) => word === "*" || word === parts[at])) continue;
      // A fixed word wins over a placeholder: /events/verify.
      const result = act(call);
      return answer(response, result === undefined ? 204 : 200, result);
    }
    throw new Refusal(404, "api.no_route", `there is no ${method} ${path}`);
  }

  async function serveFile(response: ServerResponse, path: string): Promise<void> {
    const safe = normalize(path).replace(/^(\.\.[/\\])+/, "");
    if (/^\/(assets\/|favicon\.svg|scheme\.js)/.test(safe)) {
      const content = await readFile(join(DIST, safe)).catch(() => undefined);
      if (!content) return answer(response, 404, "not found", "text/plain");
      response.writeHead(200, { "content-type": TYPES[extname(safe)] ?? "application/octet-stream" });
      return void response.end(content);
    }
    const nonce = randomBytes(12).toString("base64");
    const page = (await readFile(join(DIST, "index.html"), "utf8")).replaceAll("__CSP_NONCE__", nonce);
    response.writeHead(200, {
      "content-type": TYPES[".html"],
      "content-security-policy": `default-src 'none'; script-src 'self'; style-src 'self' 'nonce-${nonce}'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'`,
    });
    response.end(page);
  }

  const server: Server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
    if (pathname.startsWith("/prometheus/api/v1/")) {
      if (sessionOf(request)) return void servePrometheus(request, response, pathname.slice("/prometheus/api/v1".length), searchParams);
      return answer(response, 401, { code: "access.signed_out", status: 401, message: "nobody is signed in" }, "application/problem+json");
    }
    const api = pathname.startsWith(`${BASE}/`);
    const path = api ? pathname.slice(BASE.length) : pathname;
    if (api && stalling?.test(path)) return;
    const work = api && failing?.test(path) ? Promise.reject(new Refusal(503, "state.busy", "the state database is locked by another process", "Look for a second server: stead doctor")) : api ? serveApi(request, response, path, searchParams) : serveFile(response, path);
    work.catch((problem: unknown) => {
      const refusal = problem instanceof Refusal ? problem : new Refusal(500, "internal", String(problem));
      answer(response, refusal.status, { code: refusal.code, status: refusal.status, message: refusal.message, hint: refusal.hint }, "application/problem+json");
    });
  });
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    url,
    link: "fixture-link",
    world,
    fail: (pattern) => (failing = pattern),
    stall: (pattern) => (stalling = pattern),
    cut: (on) => {
      isCut = on;
      if (on) for (const stream of streams) stream.destroy();
    },
    close: async () => {
      for (const stream of streams) stream.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
