/** SQLite behind `Database`: one file in the data directory, one writer at a time. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { applySteps, type Database, type Queries, traced } from "./database.ts";

/** How long a second process, such as the next release during its start, may hold the file. */
const BUSY_TIMEOUT_MS = 2_000;

export function openSqlite(dataDir: string, service: string): Database {
  mkdirSync(dataDir, { recursive: true });
  const file = new DatabaseSync(join(dataDir, `${service}.sqlite`), { timeout: BUSY_TIMEOUT_MS });
  // FULL: an acknowledged order has to be on disk, not only in the kernel.
  file.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON");
  file.exec("PRAGMA cache_size = -2048");

  const statements = new Map<string, ReturnType<InstanceType<typeof DatabaseSync>["prepare"]>>();
  const queries: Queries = {
    async rows(sql, values = []) {
      return traced("sqlite", sql, async () => {
        let statement = statements.get(sql);
        if (!statement) statements.set(sql, (statement = file.prepare(sql.replace(/\$(\d+)/g, "?$1"))));
        return statement.all(...values) as never[];
      });
    },
  };

  // All callers share one connection, so what stands outside a transaction has to wait for its end.
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return turn;
  };
  const transaction = <T>(work: (queries: Queries) => Promise<T>): Promise<T> =>
    inTurn(async () => {
      file.exec("BEGIN IMMEDIATE");
      try {
        const result = await work(queries);
        file.exec("COMMIT");
        return result;
      } catch (error) {
        if (file.isTransaction) file.exec("ROLLBACK");
        throw error;
      }
    });
  return {
    kind: "sqlite",
    rows: (sql, values) => inTurn(() => queries.rows(sql, values)),
    transaction,
    // The write lock that BEGIN IMMEDIATE takes is the lock between processes here.
    migrate: (service, steps) => transaction((inner) => applySteps(inner, service, steps)),
    close: async () => {
      await last;
      file.close();
    },
  };
}
