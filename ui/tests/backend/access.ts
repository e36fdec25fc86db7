import { HOUR, iso, MINUTE, type All } from "./basics";
import type { World } from "./world";

/** Who may, and the secrets that nobody reads. */

export function fillSecrets(world: World): void {
  const secret = (name: string, version: number, back: number, by: string, generated: boolean, used_by: string[]): All["Secret"] => ({ name, version, updated_at: iso(world.born - back), updated_by: by, generated, used_by });
  world.secrets = [
    secret("payment-provider-key", 3, 2 * HOUR, "user:per_ines", false, ["payments"]),
    secret("session-signing-key", 1, 40 * 24 * HOUR, "user:per_jonas", false, ["web", "checkout"]),
    secret("smtp-password", 2, 12 * 24 * HOUR, "user:per_jonas", false, []),
    secret("catalog.db/password", 4, 9 * 24 * HOUR, "system:delivery", true, ["catalog"]),
    secret("checkout.db/password", 4, 9 * 24 * HOUR, "system:delivery", true, ["checkout", "nightly-report"]),
    secret("cart.cache/password", 1, 40 * 24 * HOUR, "system:delivery", true, ["cart"]),
  ];
}

export function fillAccess(world: World): void {
  const person = (id: string, name: string, role: All["Role"], active: boolean, password: boolean, seen?: number): All["Person"] => ({
    id,
    name,
    role,
    active,
    password,
    created_at: iso(world.born - 41 * 24 * HOUR),
    ...(seen !== undefined ? { last_seen_at: iso(world.born - seen) } : {}),
  });
  world.people = [
    person("per_ines", "ines", "admin", true, true, 30_000),
    person("per_jonas", "jonas", "operator", true, true, 3 * HOUR),
    person("per_mei", "mei", "operator", true, false, 26 * HOUR),
    person("per_audit", "auditor", "viewer", true, false),
    person("per_kofi", "kofi", "operator", false, true, 30 * 24 * HOUR),
  ];
  const token = (id: string, name: string, scopes: string[], days: number, used?: number): All["Token"] => ({
    id,
    name,
    scopes,
    environments: id === "tok_ci" ? ["default"] : [],
    created_at: iso(world.born - 30 * 24 * HOUR),
    created_by: "user:per_ines",
    expires_at: iso(world.born + days * 24 * HOUR),
    ...(used !== undefined ? { last_used_at: iso(world.born - used) } : {}),
  });
  world.tokens = [token("tok_ci", "ci", ["read", "deploy"], 60, 26 * MINUTE), token("tok_dash", "wall-dashboard", ["read"], 5, 40_000), token("tok_old", "old-script", ["read", "secrets"], -3)];
}
