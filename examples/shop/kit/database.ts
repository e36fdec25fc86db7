/**
 * The database a service keeps its records in: PostgreSQL where `DATABASE_URL` is bound, SQLite in
 * the data directory where it isn't. The SQL of the shop is the part that both understand, with
 * `$1` for parameters. In both, a commit that returned is on disk.
 */

import { telemetry, within } from "./telemetry.ts";
import type { Settings } from "./settings.ts";

export type Value = string | number | null;
export type Row = Record<string, Value>;

export interface Queries {
  rows<T extends object = Row>(sql: string, values?: Value[]): Promise<T[]>;
}

export interface Database extends Queries {
  readonly kind: "postgresql" | "sqlite";
  /** One transaction; rolled back when `work` throws. `work` must use the queries it is given. */
  transaction<T>(work: (queries: Queries) => Promise<T>): Promise<T>;
  /** Brings the schema up to the last step. Safe to run from several processes at once. */
  migrate(service: string, steps: string[]): Promise<void>;
  close(): Promise<void>;
}

export async function openDatabase(settings: Settings, service: string): Promise<Database> {
  if (settings.databaseUrl) {
    const { openPostgres } = await import("./postgres.ts");
    return openPostgres(settings.databaseUrl);
  }
  const { openSqlite } = await import("./sqlite.ts");
  return openSqlite(settings.dataDir, service);
}

/** What a service says of its own profile. */
export const profileOf = (database: Database): Record<string, unknown> =>
  database.kind === "postgresql" ? { profile: "platform", store: "postgresql" } : { profile: "embedded", store: "sqlite" };

export async function traced<T>(kind: string, sql: string, run: () => Promise<T>): Promise<T> {
  const operation = /^\s*(\w+)/.exec(sql)?.[1]?.toUpperCase() ?? "QUERY";
  const span = telemetry.child("client", operation, { "db.system.name": kind, "db.query.text": sql });
  return within(span, run);
}

const MIGRATIONS = `CREATE TABLE IF NOT EXISTS shop_migrations (
  service TEXT NOT NULL, step INTEGER NOT NULL, applied_at BIGINT NOT NULL, PRIMARY KEY (service, step))`;

/** Steps are numbered by their place and never change once released. */
export async function applySteps(queries: Queries, service: string, steps: string[]): Promise<void> {
  await queries.rows(MIGRATIONS);
  const done = await queries.rows<{ step: number }>("SELECT step FROM shop_migrations WHERE service = $1", [service]);
  const applied = new Set(done.map((row) => row.step));
  for (const [at, step] of steps.entries()) {
    if (applied.has(at)) continue;
    for (const statement of step.split(";\n").filter((one) => one.trim())) await queries.rows(statement);
    await queries.rows("INSERT INTO shop_migrations (service, step, applied_at) VALUES ($1, $2, $3)", [service, at, Date.now()]);
  }
}
