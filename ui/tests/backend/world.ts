import { fillAccess, fillSecrets } from "./access";
import { HOUR, iso, longId, MINUTE, random, replicaId, type All } from "./basics";
import { fillEvents } from "./ledger";
import { fillPlans } from "./plans";

/** A shop on a good day: made-up data in the shape of the real API. A test double, never shipped. */

interface Thing {
  name: string;
  kind: All["Kind"];
  description: string;
  owner: string;
  tier: string;
  needs: string[];
  wanted: number;
  ready: number;
  health: All["Health"];
  reason?: string;
  belongsTo?: string;
  url?: string;
  rate: number;
  errors: number;
  p50: number;
}

const THINGS: Thing[] = [
  { name: "web", kind: "service", description: "Storefront and what browsers load", owner: "team-storefront", tier: "critical", needs: ["catalog", "cart", "checkout"], wanted: 3, ready: 3, health: "healthy", url: "http://shop.localhost:8080", rate: 48, errors: 0.0008, p50: 11 },
  { name: "catalog", kind: "service", description: "Products, prices and search", owner: "team-catalog", tier: "important", needs: ["catalog.db"], wanted: 2, ready: 2, health: "healthy", rate: 61, errors: 0.0002, p50: 4.2 },
  { name: "cart", kind: "service", description: "Carts of signed-in and passing customers", owner: "team-storefront", tier: "important", needs: ["cart.cache", "catalog"], wanted: 2, ready: 2, health: "healthy", rate: 19, errors: 0, p50: 2.8 },
  { name: "checkout", kind: "service", description: "Takes orders, exactly once", owner: "team-orders", tier: "critical", needs: ["checkout.db", "payments", "cart"], wanted: 2, ready: 2, health: "healthy", rate: 6.4, errors: 0.018, p50: 38 },
  { name: "payments", kind: "service", description: "Talks to the payment provider", owner: "team-orders", tier: "critical", needs: [], wanted: 2, ready: 1, health: "degraded", reason: "1 of 2 replicas is ready; a replica ended with exit code 3 four times in 10 minutes, next start in 40 s", rate: 6.1, errors: 0.031, p50: 92 },
  { name: "nightly-report", kind: "job", description: "Sales of the day, at 02:30", owner: "team-orders", tier: "standard", needs: ["checkout.db"], wanted: 0, ready: 0, health: "stopped", rate: 0, errors: 0, p50: 0 },
  { name: "catalog.db", kind: "postgres", description: "PostgreSQL 15 of catalog", owner: "team-catalog", tier: "important", needs: [], wanted: 1, ready: 1, health: "healthy", belongsTo: "catalog", rate: 0, errors: 0, p50: 0 },
  { name: "checkout.db", kind: "postgres", description: "PostgreSQL 15 of checkout", owner: "team-orders", tier: "critical", needs: [], wanted: 1, ready: 1, health: "healthy", belongsTo: "checkout", rate: 0, errors: 0, p50: 0 },
  { name: "cart.cache", kind: "redis", description: "Redis 7 of cart", owner: "team-storefront", tier: "important", needs: [], wanted: 1, ready: 1, health: "healthy", belongsTo: "cart", rate: 0, errors: 0, p50: 0 },
];

const CALLS: [string, string, number, boolean][] = [
  ["internet", "web", 1, true],
  ["web", "catalog", 0.94, true],
  ["web", "cart", 0.3, true],
  ["web", "checkout", 0.13, true],
  ["cart", "catalog", 0.22, true],
  ["checkout", "payments", 0.12, true],
  ["checkout", "cart", 0.1, true],
  ["checkout", "checkout.db", 0, true],
  ["catalog", "catalog.db", 0, true],
  ["cart", "cart.cache", 0, true],
  ["nightly-report", "checkout.db", 0, true],
];

const AUTHORS = ["Ines Okafor <ines@shop.example>", "Jonas Lindqvist <jonas@shop.example>", "Mei Tanaka <mei@shop.example>"];
const COMMITS = ["9c41f7e2ab90d3f1c55e8a7be0b1d2c3f4a5b6c7", "51d0e3aa7c1f9b2e4d6c8a0f1e2d3c4b5a697887", "e7702b1cd44af9031c2b3d4e5f60718293a4b5c6"];

export class World {
  readonly born: number;
  readonly things: Thing[];
  plans: All["Plan"][] = [];
  runs: All["Run"][] = [];
  events: All["Event"][] = [];
  secrets: All["Secret"][] = [];
  people: All["Person"][] = [];
  tokens: All["Token"][] = [];
  private readonly restarted = new Map<string, number>();
  private readonly listeners = new Set<(change: All["Change"]) => void>();
  private ids = 0;
  intact = true;
  /** The environment that the services are in. */
  home = "default";

  constructor(readonly now: () => number, empty = false) {
    this.born = now();
    this.things = empty ? [] : structuredClone(THINGS);
    fillAccess(this);
    if (!empty) {
      fillSecrets(this);
      fillPlans(this);
      fillEvents(this);
    } else {
      this.record("access", "user:per_per_owner", "stead.person.invited.v1", "system:delivery", "the first start makes an owner", { after: { name: "ines", role: "admin" } });
    }
  }

  id(prefix: string): string {
    this.ids += 1;
    return longId(prefix, this.ids);
  }

  listen(hear: (change: All["Change"]) => void): () => void {
    this.listeners.add(hear);
    return () => this.listeners.delete(hear);
  }

  announce(kind: string, name?: string): void {
    for (const hear of this.listeners) hear(name ? { kind, name } : { kind });
  }

  // Services ------------------------------------------------------------------------------------

  source(at: number, which = 0): All["Source"] {
    return {
      project: "/srv/shop",
      repository: "https://git.example/shop/shop.git",
      commit: COMMITS[which % COMMITS.length],
      dirty: which === 2,
      author: AUTHORS[which % AUTHORS.length],
      committed_at: iso(at - 11 * MINUTE),
    };
  }

  releases(thing: Thing): All["Release"][] {
    const make = (number: number, back: number, state: All["ReleaseState"], which: number, reason?: string): All["Release"] => ({
      id: `rel_${thing.name}_${number}`,
      number,
      state,
      created_at: iso(this.born - back),
      created_by: which === 1 ? "user:per_jonas" : "user:per_ines",
      source: this.source(this.born - back, which),
      ...(thing.kind === "service" || thing.kind === "job" ? { artifact: `sha256:${"3fa9c1d27be4405e8c6a".repeat(4).slice(number, number + 64)}` } : {}),
      secrets: thing.name === "payments" ? [`payment-provider-key@${number > 12 ? 3 : 2}`] : [],
      ...(reason ? { reason } : {}),
      // As the server: only the newest have it.
      ...(number > 11 ? { definition: { ...this.definition(thing), tier: number > 12 ? thing.tier : "development" } } : {}),
    });
    if (thing.belongsTo) return [make(1, 40 * 24 * HOUR, "active", 0)];
    return [
      make(14, 26 * MINUTE, "active", 0),
      make(13, 3.2 * HOUR, "failed", 2, "the new replica never became ready: GET /healthz answered 500 for 60 s; release 12 kept serving"),
      make(12, 27 * HOUR, "superseded", 1),
      make(11, 4 * 24 * HOUR, "superseded", 0),
      make(10, 9 * 24 * HOUR, "superseded", 1),
    ];
  }

  service(thing: Thing): All["Service"] {
    const restarted = this.restarted.get(thing.name);
    const starting = restarted !== undefined && this.now() - restarted < 3_000;
    return {
      id: `svc_${thing.name}`,
      name: thing.name,
      kind: thing.kind,
      environment: "default",
      description: thing.description,
      owner: thing.owner,
      tier: thing.tier,
      health: starting ? "starting" : thing.health,
      ...(thing.reason ? { reason: thing.reason } : {}),
      since: iso(restarted ?? this.born - 26 * MINUTE),
      replicas_ready: thing.ready,
      replicas_wanted: thing.wanted,
      release: this.releases(thing)[0],
      ...(thing.url ? { url: thing.url } : {}),
      needs: thing.needs,
      ...(thing.belongsTo ? { belongs_to: thing.belongsTo } : {}),
    };
  }

  detail(thing: Thing): All["ServiceDetail"] {
    return {
      ...this.service(thing),
      generation: 41,
      replicas: this.replicas(thing),
      releases: this.releases(thing),
      bindings: thing.needs.map((need) => {
        const target = this.things.find((each) => each.name === need);
        const kind = target?.kind ?? "service";
        return {
          need: need.includes(".") ? need.split(".")[1]! : need,
          kind,
          target: need,
          environment: kind === "postgres" ? ["DATABASE_URL", "PGHOST", "PGPORT"] : kind === "redis" ? ["REDIS_URL"] : [`${need.toUpperCase()}_URL`],
        };
      }),
      endpoints: [
        ...(thing.url ? [{ audience: "public", url: thing.url }] : []),
        ...this.things.filter((each) => each.needs.includes(thing.name)).map((each) => ({ audience: each.name, url: `http://127.0.0.1:41${thing.name.length}0` })),
      ],
      definition: this.definition(thing),
      links: thing.belongsTo ? [] : [{ title: "Runbook", url: "https://wiki.example/runbooks/" + thing.name }, { title: "Source", url: "https://git.example/shop/shop" }],
    };
  }

  definition(thing: Thing): Record<string, unknown> {
    return {
      name: thing.name,
      description: thing.description,
      owner: thing.owner,
      tier: thing.tier,
      run: {
        ...(thing.kind === "job" ? { kind: "job" } : {}),
        command: ["node", "src/server.js"],
        replicas: thing.wanted,
        environment: { NODE_ENV: "production", LOG_LEVEL: "info" },
        limits: { memory: "256MiB", cpu: "0.5" },
        checks: { readiness: { http: "/healthz", interval: "5s", threshold: 3 }, liveness: { tcp: 8080 } },
      },
      needs: Object.fromEntries(thing.needs.map((need) => [need.split(".").pop()!, need.endsWith(".db") ? { postgres: {} } : need.endsWith(".cache") ? { redis: {} } : { service: need }])),
      ...(thing.url ? { expose: { host: "shop.localhost", path: "/" } } : {}),
      ...(thing.name === "checkout" ? { jobs: { "nightly-report": { command: ["node", "src/report.js"], schedule: "30 2 * * *" } } } : {}),
      ...(thing.name === "payments" ? { secrets: { PROVIDER_KEY: "payment-provider-key" } } : {}),
    };
  }

  private replicas(thing: Thing): All["Replica"][] {
    const next = random(thing.name.length * 977 + Math.floor(this.now() / 5_000));
    const since = this.restarted.get(thing.name) ?? this.born - 26 * MINUTE;
    return Array.from({ length: thing.wanted }, (_, at): All["Replica"] => {
      const failing = thing.name === "payments" && at === 1;
      return {
        id: replicaId(thing.name, at),
        release: `rel_${thing.name}_14`,
        state: failing ? "exited" : "ready",
        since: iso(failing ? this.now() - 22_000 : since),
        ...(failing ? {} : { pid: 20_114 + at * 37 + thing.name.length, port: 41_200 + at }),
        cpu_cores: failing ? 0 : 0.04 + next() * 0.11,
        memory_bytes: failing ? 0 : Math.round((74 + next() * 30 + (thing.name === "checkout" && at === 0 ? 118 : 0)) * 1024 * 1024),
        memory_bytes_max: 256 * 1024 * 1024,
        processes: failing ? 0 : 2,
        checks: failing
          ? [{ name: "readiness", ok: false, failures: 4, message: "connection refused on 127.0.0.1:41201" }]
          : [
              { name: "readiness", ok: true, failures: 0 },
              { name: "liveness", ok: true, failures: 0 },
            ],
        ...(failing ? { exit: { at: iso(this.now() - 22_000), code: 3, oom: false, reason: "exit code 3: provider key rejected" } } : {}),
        notes: thing.name === "web" && at === 2 ? ["memory is limited by rlimit: no cgroup is granted here"] : [],
      };
    });
  }

  find(name: string): Thing | undefined {
    return this.things.find((thing) => thing.name === name);
  }

  restart(name: string, actor: string, why?: string): void {
    this.restarted.set(name, this.now());
    this.record("delivery", `svc_${name}`, "stead.service.restarted.v1", actor, why ?? "asked for", { before: { since: iso(this.born) }, after: { since: iso(this.now()) } });
    this.announce("service", name);
    setTimeout(() => this.announce("service", name), 3_100).unref();
  }

  scale(name: string, replicas: number, actor: string, why?: string): void {
    const thing = this.find(name)!;
    this.record("delivery", `svc_${name}`, "stead.service.scaled.v1", actor, why ?? "asked for", { before: { replicas: thing.wanted }, after: { replicas } });
    thing.wanted = replicas;
    thing.ready = replicas;
    thing.health = replicas === 0 ? "stopped" : "healthy";
    delete thing.reason;
    this.announce("service", name);
  }

  // Traffic -------------------------------------------------------------------------------------

  map(): All["Map"] {
    const beat = 1 + 0.06 * Math.sin(this.now() / 9_000);
    if (this.things.length === 0) return { nodes: [], edges: [] };
    const p99 = (thing: Thing) => (thing.p50 > 0 ? thing.p50 * 4.4 * beat : undefined);
    return {
      nodes: [
        { name: "internet", replicas_ready: 0, replicas_wanted: 0, requests_per_second: 0, error_ratio: 0 },
        ...this.things.map((thing): All["MapNode"] => {
          const now = this.service(thing);
          return {
            name: thing.name,
            kind: thing.kind,
            health: now.health,
            ...(now.reason ? { reason: now.reason } : {}),
            replicas_ready: thing.ready,
            replicas_wanted: thing.wanted,
            requests_per_second: thing.rate * beat,
            error_ratio: thing.errors,
            ...(p99(thing) ? { p99_ms: p99(thing) } : {}),
          };
        }),
      ],
      edges: CALLS.map(([from, to, share, declared]): All["MapEdge"] => {
        const callee = this.find(to)!;
        return {
          from,
          to,
          declared,
          observed: share > 0,
          requests_per_second: share * 48 * beat,
          error_ratio: share > 0 ? callee.errors : 0,
          ...(share > 0 ? { p99_ms: p99(callee) } : {}),
        };
      }),
    };
  }

  traffic(name: string, seconds: number): All["Series"] {
    const thing = this.find(name)!;
    const step = Math.max(1, Math.round(seconds / 180));
    const end = Math.floor(this.now() / 1000 / step) * step;
    const points = Array.from({ length: Math.floor(seconds / step) }, (_, at): All["Point"] => {
      const second = end - seconds + at * step;
      const next = random(second * 31 + name.length);
      next();
      const wave = 1 + 0.22 * Math.sin(second / 97) + 0.1 * Math.sin(second / 23) + (next() - 0.5) * 0.16;
      const requests = Math.round(thing.rate * step * wave);
      // A bad minute, for the eye to find.
      const ill = at > 96 && at < 108 && thing.errors > 0.01;
      const slow = (1 + (next() - 0.5) * 0.3) * (ill ? 2.6 : 1);
      return {
        at_ms: second * 1000,
        requests,
        errors: Math.round(requests * (ill ? 0.12 : thing.errors) * (0.5 + next())),
        retries: Math.round(requests * 0.004),
        in_flight: Math.round(thing.rate / 12),
        ...(requests > 0 ? { p50_ms: thing.p50 * slow, p90_ms: thing.p50 * 2.3 * slow, p99_ms: thing.p50 * 4.4 * slow * (0.9 + next() * 0.35) } : {}),
      };
    });
    return { service: name, step_seconds: step, points };
  }

  // Logs ----------------------------------------------------------------------------------------

  logLine(name: string, at: number, seed: number): All["LogLine"] {
    const next = random(seed * 7919 + name.length);
    next();
    const thing = this.find(name);
    const pick = <T>(from: T[]): T => from[Math.floor(next() * from.length)]!;
    const replica = replicaId(name, Math.floor(next() * Math.max(1, thing?.wanted ?? 1)));
    const trace = Math.floor(next() * 2 ** 32).toString(16).padStart(8, "0");
    const roll = next();
    const order = 48_000 + Math.floor(next() * 900);
    if (roll > 0.965) {
      return { at: iso(at), service: name, replica, stream: "stderr", text: `Error: provider answered 503 Service Unavailable, trying again (2 of 3) order=${order} trace=${trace}` };
    }
    const text =
      roll > 0.9
        ? `{"level":"warn","msg":"slow query","ms":${120 + Math.floor(next() * 300)},"sql":"SELECT id, title, price FROM products WHERE tsv @@ $1 ORDER BY rank LIMIT 24","trace":"${trace}"}`
        : pick([
            `GET /products?page=${1 + Math.floor(next() * 9)} 200 ${4 + Math.floor(next() * 20)}ms trace=${trace}`,
            `GET /healthz 200 0ms`,
            `POST /orders 201 ${30 + Math.floor(next() * 60)}ms order=${order} trace=${trace}`,
            `cart of customer ${1000 + Math.floor(next() * 400)} now holds ${1 + Math.floor(next() * 6)} items trace=${trace}`,
            `GET /products/${100 + Math.floor(next() * 60)} 200 ${3 + Math.floor(next() * 9)}ms trace=${trace}`,
          ]);
    return { at: iso(at), service: name, replica, stream: "stdout", text };
  }

  logs(name: string, tail: number): All["LogLine"][] {
    const end = Math.floor(this.now() / 350);
    return Array.from({ length: tail }, (_, at) => this.logLine(name, (end - tail + at) * 350, end - tail + at));
  }

  // Ledger --------------------------------------------------------------------------------------

  record(_area: string, subject: string, kind: string, actor: string, why: string, body: unknown, back = 0, cause?: All["Event"]): All["Event"] {
    const id = this.id("evt");
    const event: All["Event"] = {
      seq: this.events.length + 1,
      id,
      at: iso(this.now() - back),
      environment: "default",
      kind,
      subject,
      actor,
      correlation: cause?.correlation ?? id.replace("evt", "cor"),
      ...(cause ? { causation: cause.id } : {}),
      why,
      body: body as never,
      hash: `blake3:${(this.events.length * 2654435761).toString(16).padStart(8, "0").repeat(8)}`,
    };
    this.events.push(event);
    this.announce("event", id);
    return event;
  }
}
