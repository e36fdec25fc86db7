import { HOUR, MINUTE, replicaId } from "./basics";
import type { World } from "./world";

/** What happened in the shop before somebody looks. */

export function fillEvents(world: World): void {
  const days = 24 * HOUR;
  for (let at = 70; at > 0; at -= 1) {
    const name = ["web", "catalog", "cart", "checkout"][at % 4]!;
    const back = 2 * days + at * 2.3 * HOUR;
    const actor = at % 3 === 0 ? "user:per_jonas" : "token:tok_ci";
    const planned = world.record("d", `plan/pln_old${at}`, "stead.plan.created.v1", actor, `${name}: its files differ`, { after: { change: 1 } }, back);
    world.record("d", `svc_${name}`, "stead.release.created.v1", actor, "its files differ", { before: { artifact: `sha256:${at}aa0` }, after: { artifact: `sha256:${at}bb1` } }, back - 20_000, planned);
  }
  const p = world.record("d", "plan/pln_failed", "stead.plan.created.v1", "user:per_mei", "web: run.environment.CACHE_TTL differs", { after: { change: 1, keep: 5 } }, 3.3 * HOUR);
  const a = world.record("d", "plan/pln_failed", "stead.plan.applied.v1", "user:per_mei", "applied from the terminal", { after: { run: "run_failed" } }, 3.2 * HOUR, p);
  const r = world.record("d", "svc_web", "stead.release.created.v1", "user:per_mei", "its definition differs", { before: { run: { replicas: 3, environment: { NODE_ENV: "production", CACHE_TTL: "30s" } } }, after: { run: { replicas: 3, environment: { NODE_ENV: "production", CACHE_TTL: "" } } } }, 3.19 * HOUR, a);
  world.record("d", "svc_web", "stead.release.restored.v1", "system:delivery", "release 13 never became ready: GET /healthz answered 500 for 60 s", { before: { release: 13 }, after: { release: 12 }, evidence: { readiness_failures: 12, last_status: 500 } }, 3.18 * HOUR, r);
  world.record("s", "secret/payment-provider-key", "stead.secret.set.v1", "user:per_ines", "the provider asked for a new key", { before: { version: 2 }, after: { version: 3 } }, 2 * HOUR);
  const q = world.record("d", "plan/pln_done", "stead.plan.created.v1", "user:per_ines", "web: its files differ", { after: { change: 1, keep: 5 } }, 27 * MINUTE);
  const b = world.record("d", "plan/pln_done", "stead.plan.applied.v1", "user:per_ines", "applied from the UI", { after: { run: "run_done" } }, 26.2 * MINUTE, q);
  world.record("d", "svc_web", "stead.release.created.v1", "user:per_ines", "its files differ", { before: { artifact: "sha256:11c0d5", number: 12 }, after: { artifact: "sha256:3fa9c1", number: 14 } }, 26 * MINUTE, b);
  const e = world.record("d", "svc_payments", "stead.replica.exited.v1", "system:delivery", "a replica ended with exit code 3", { after: { replica: replicaId("payments", 1), code: 3, oom: false } }, 9 * MINUTE);
  world.record("d", "svc_payments", "stead.service.degraded.v1", "system:delivery", "1 of 2 replicas is ready", { before: { health: "healthy" }, after: { health: "degraded" }, evidence: { exits: 4, window_seconds: 600 } }, 8.9 * MINUTE, e);
  world.record("d", "plan/pln_open", "stead.plan.created.v1", "user:per_ines", "recommend is new, web changes", { after: { create: 2, change: 1, replace: 1, remove: 1, keep: 5 } }, 4 * MINUTE);
}
