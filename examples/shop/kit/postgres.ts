/** PostgreSQL behind `Database`. */

import pg from "pg";
import { applySteps, type Database, type Queries, traced, type Value } from "./database.ts";
import { Refusal } from "./http.ts";
import { log } from "./log.ts";
import { wholeNumber } from "./settings.ts";

const CONNECTIONS_MAX = 8;
/** Requests that wait for a connection; more are turned away instead of piling up. */
const WAITING_MAX = 128;
const CONNECT_TIMEOUT_MS = 2_000;
const STATEMENT_TIMEOUT_MS = 2_500;
const QUERY_TIMEOUT_MS = 3_000;
/** Any number, as long as the whole shop uses the same one. */
const MIGRATION_LOCK = 7_310_457_204;

// All whole numbers of the shop fit a double: amounts in cents, times in milliseconds.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

export function openPostgres(url: string): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: wholeNumber(process.env, "DATABASE_CONNECTIONS", CONNECTIONS_MAX, 1, 64),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    idle_in_transaction_session_timeout: 5_000,
    idleTimeoutMillis: 30_000,
    keepAlive: true,
  });
  // A connection that breaks while idle is replaced at the next use; unheard, it would end the process.
  pool.on("error", (error) => log.warn("a database connection broke", { error }));

  const run = async <T>(on: { query: pg.Pool["query"] }, sql: string, values: Value[]): Promise<T[]> => {
    const result = await traced("postgresql", sql, () => on.query(sql, values));
    return result.rows as T[];
  };
  const admit = () => {
    if (pool.waitingCount > WAITING_MAX) throw new Refusal(503, "overloaded", "too many requests wait for the database");
  };
  const transaction = async <T>(work: (queries: Queries) => Promise<T>): Promise<T> => {
    admit();
    const client = await pool.connect();
    let broken: Error | undefined;
    try {
      await client.query("BEGIN");
      const result = await work({ rows: (sql, values = []) => run(client, sql, values) });
      await traced("postgresql", "COMMIT", () => client.query("COMMIT"));
      return result;
    } catch (error) {
      await client.query("ROLLBACK").catch((failure: Error) => (broken = failure));
      throw error;
    } finally {
      client.release(broken);
    }
  };
  return {
    kind: "postgresql",
    rows(sql, values = []) {
      admit();
      return run(pool, sql, values);
    },
    transaction,
    migrate: (service, steps) =>
      transaction(async (queries) => {
        await queries.rows("SELECT pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
        await applySteps(queries, service, steps);
      }),
    close: () => pool.end(),
  };
}
