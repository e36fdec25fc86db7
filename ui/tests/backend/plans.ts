import { HOUR, iso, MINUTE, type All } from "./basics";
import type { World } from "./world";

/** Plans of the shop, and the runs that carry them out. */

const summary = (steps: All["Step"][]): All["Summary"] => {
  const of = (action: All["Action"]) => steps.filter((step) => step.action === action).length;
  return { create: of("create"), change: of("change"), replace: of("replace"), remove: of("remove"), keep: of("keep") };
};

function plan(world: World, id: string, back: number, state: All["PlanState"], which: number, steps: All["Step"][], more: Partial<All["Plan"]> = {}): All["Plan"] {
  return {
    id,
    environment: "default",
    state,
    created_at: iso(world.born - back),
    created_by: which === 1 ? "user:per_jonas" : "user:per_ines",
    source: world.source(world.born - back, which),
    steps,
    summary: summary(steps),
    warnings: [],
    missing_blobs: [],
    ...more,
  };
}

export function fillPlans(world: World): void {
  const keep = (subject: string): All["Step"] => ({ subject, action: "keep", why: "nothing differs", changes: [], after: [], warnings: [] });
  const open: All["Step"][] = [
    { subject: "need/recommend.cache", action: "create", why: "recommend needs a Redis that does not exist", changes: [], after: [], warnings: [] },
    {
      subject: "service/recommend",
      action: "create",
      why: "it stands in recommend/stead.yaml and does not run yet",
      changes: [
        { path: "run.command", after: ["node", "src/server.js"] },
        { path: "run.replicas", after: 2 },
        { path: "tier", after: "standard" },
      ],
      after: ["need/recommend.cache"],
      warnings: [],
    },
    {
      subject: "service/web",
      action: "change",
      why: "its definition and its files differ",
      changes: [
        { path: "artifact", before: "sha256:3fa9c1d27be4", after: "sha256:b04e77d1903c" },
        { path: "run.replicas", before: 3, after: 4 },
        { path: "run.environment.FEATURE_RECOMMEND", after: "on" },
        { path: "needs.recommend", after: { service: "recommend" } },
      ],
      after: ["service/recommend"],
      warnings: [],
    },
    {
      subject: "service/checkout",
      action: "replace",
      why: "its user changes, which a running process cannot",
      changes: [{ path: "run.user", before: "stead-1004", after: "checkout" }],
      after: [],
      warnings: ["the new replica takes over before the old one goes; no request is dropped"],
    },
    {
      subject: "service/banner",
      action: "remove",
      why: "it no longer stands in any stead.yaml of this project",
      changes: [],
      after: [],
      warnings: ["its 3 files of data under /srv/shop/banner stay where they are"],
    },
    keep("service/catalog"),
    keep("service/cart"),
    keep("service/payments"),
    keep("need/catalog.db"),
    keep("need/cart.cache"),
  ];
  const steps = (names: [string, All["StepState"], string?][]): All["RunStep"][] => names.map(([name, state, message]) => ({ name, state, attempts: state === "waiting" ? 0 : 1, ...(message ? { message } : {}) }));
  world.plans = [
    plan(world, "pln_open", 4 * MINUTE, "open", 0, open, { warnings: ["the working tree of /srv/shop had changes that are in no commit"], source: { ...world.source(world.born, 0), dirty: true } }),
    plan(world, "pln_done", 26 * MINUTE, "applied", 0, [{ ...open[2]!, changes: [{ path: "artifact", before: "sha256:11c0", after: "sha256:3fa9" }] }, keep("service/cart")], { run: "run_done" }),
    plan(world, "pln_failed", 3.2 * HOUR, "applied", 2, [{ ...open[2]!, changes: [{ path: "run.environment.CACHE_TTL", before: "30s", after: "" }] }], { run: "run_failed" }),
    plan(world, "pln_stale", 5 * HOUR, "stale", 1, [{ ...open[3]! }]),
    ...Array.from({ length: 8 }, (_, at) => plan(world, `pln_old${at}`, (20 + at * 9) * HOUR, "applied", at % 2, [{ ...open[2]!, changes: [] }], { run: "run_done" })),
  ];
  world.runs = [
    {
      id: "run_done",
      plan: "pln_done",
      state: "done",
      started_at: iso(world.born - 26 * MINUTE),
      ended_at: iso(world.born - 26 * MINUTE + 9_400),
      started_by: "user:per_ines",
      steps: steps([["pin the artifact of web", "done"], ["start web release 14", "done", "3 of 3 replicas ready"], ["move the traffic of web", "done"], ["stop web release 12", "done"]]),
    },
    {
      id: "run_failed",
      plan: "pln_failed",
      state: "undone",
      started_at: iso(world.born - 3.2 * HOUR),
      ended_at: iso(world.born - 3.2 * HOUR + 71_000),
      started_by: "user:per_mei",
      problem: "web release 13 never became ready: GET /healthz answered 500 for 60 s (TypeError: Cannot read properties of undefined, reading 'ttl')",
      steps: steps([
        ["pin the artifact of web", "done"],
        ["start web release 13", "failed", "readiness failed 12 times; last answer 500"],
        ["stop web release 13", "done", "the new replicas were stopped"],
        ["move the traffic of web", "skipped"],
        ["stop web release 12", "skipped", "it kept serving all the time"],
      ]),
    },
  ];
}

export function apply(world: World, plan: All["Plan"], actor: string): All["Run"] {
  const known = world.runs.find((run) => run.id === plan.run);
  if (known) return known;
  const run: All["Run"] = {
    id: world.id("run"),
    plan: plan.id,
    state: "running",
    started_at: iso(world.now()),
    started_by: actor,
    steps: plan.steps
      .filter((step) => step.action !== "keep")
      .flatMap((step) => (step.action === "remove" ? [`stop ${step.subject}`] : [`start ${step.subject}`, `move the traffic of ${step.subject}`]))
      .map((name) => ({ name, state: "waiting" as const, attempts: 0 })),
  };
  plan.state = "applied";
  plan.run = run.id;
  world.runs.unshift(run);
  world.record("delivery", `plan/${plan.id}`, "stead.plan.applied.v1", actor, "applied from the UI", { after: { run: run.id } });
  world.announce("plan", plan.id);
  let at = 0;
  const timer = setInterval(() => {
    const before = run.steps[at - 1];
    if (before) before.state = "done";
    const step = run.steps[at];
    if (run.state !== "running") clearInterval(timer);
    else if (step) {
      step.state = "running";
      step.attempts = 1;
      step.message = "waiting until it is ready";
      at += 1;
    } else {
      run.state = "done";
      run.ended_at = iso(world.now());
      for (const each of run.steps) delete each.message;
      clearInterval(timer);
    }
    world.announce("run", run.id);
  }, 400);
  timer.unref();
  return run;
}

/** The plan of a new password for what a service needs. */
export function rotate(world: World, service: string, need: string, actor: string): All["Plan"] {
  const name = `${service}.${need}`;
  const step = (subject: string, why: string, path: string, after: string[], warnings: string[]): All["Step"] => ({
    subject,
    action: "change",
    why,
    changes: [{ path, before: "version 1", after: "a new version" }],
    after,
    warnings,
  });
  const made = plan(world, world.id("pln"), 0, "open", 0, [
    step(`need/${name}`, "a new password; the old one works until every replica has the new one", "password", [], []),
    step(`service/${service}`, `a release with the new password of ${name}; its replicas are replaced in turn`, `needs.${need}.password`, [`need/${name}`], []),
  ]);
  made.created_by = actor;
  made.source = { project: "", dirty: false };
  world.plans.unshift(made);
  return made;
}
