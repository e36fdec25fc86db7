/**
 * Faults that can be switched on, so that what watches the shop has something to find.
 *
 *     latency:200ms@0.3     a third of the requests waits first
 *     error:0.5             half of the requests fails with 500
 *     error-user:0.1        all requests of a tenth of the users fail, always the same users
 *     leak:1MiB/s           memory grows until a limit ends it
 *     crash  crash:after=30s  crash-at-start
 *     hang   hang@0.1       requests are never answered; a full hang takes the health checks along
 *
 * Given as `FAULTS=latency:200ms,error:0.1` or while running by `PUT /faults`, which asks for a
 * token: `FAULTS_TOKEN`, or else one that the service makes itself and leaves in a file that only
 * its own user may read. There is no way in without one.
 */

import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { log } from "./log.ts";

export interface Faults {
  latency?: { ms: number; share: number };
  error?: { share: number };
  errorUser?: { share: number };
  leak?: { bytesPerSecond: number };
  crash?: { afterMs: number };
  crashAtStart?: true;
  hang?: { share: number };
}

/** Well above any limit a shop service is given, yet it can't take the machine down. */
const LEAK_BYTES_MAX = 2 * 1024 ** 3;
const LATENCY_MS_MAX = 60_000;
const TEXT_CHARS_MAX = 1_000;

export function parseFaults(text: string): Faults {
  if (text.length > TEXT_CHARS_MAX) throw new Error(`faults are longer than ${TEXT_CHARS_MAX} characters`);
  const faults: Faults = {};
  for (const part of text.split(",").map((one) => one.trim()).filter(Boolean)) {
    const given = /^([a-z-]+)(?::([^@]*))?(?:@(.+))?$/.exec(part);
    if (!given) throw new Error(`fault "${part}" is not understood: expected name:value@share`);
    const [, name, value, share] = given;
    switch (name) {
      case "latency":
        faults.latency = { ms: Math.min(duration(part, value), LATENCY_MS_MAX), share: shareOf(part, share ?? "1") };
        break;
      case "error":
        faults.error = { share: shareOf(part, value ?? share ?? "1") };
        break;
      case "error-user":
        faults.errorUser = { share: shareOf(part, value ?? share) };
        break;
      case "leak":
        faults.leak = { bytesPerSecond: rate(part, value) };
        break;
      case "crash":
        faults.crash = { afterMs: value ? duration(part, value.replace(/^after=/, "")) : 0 };
        break;
      case "crash-at-start":
        faults.crashAtStart = true;
        break;
      case "hang":
        faults.hang = { share: shareOf(part, value ?? share ?? "1") };
        break;
      default:
        throw new Error(
          `fault "${name}" is not known: there are latency, error, error-user, leak, crash, crash-at-start, hang`,
        );
    }
  }
  return faults;
}

function shareOf(part: string, text: string | undefined): number {
  const value = Number(text);
  if (!text || !(value >= 0 && value <= 1)) throw new Error(`fault "${part}": expected a share from 0 to 1`);
  return value;
}

function duration(part: string, text: string | undefined): number {
  const given = /^(\d+(?:\.\d+)?)(ms|s|m)$/.exec(text ?? "");
  if (!given) throw new Error(`fault "${part}": expected a duration such as 200ms, 3s or 1m`);
  return Number(given[1]) * { ms: 1, s: 1_000, m: 60_000 }[given[2] as "ms" | "s" | "m"];
}

function rate(part: string, text: string | undefined): number {
  const given = /^(\d+(?:\.\d+)?)(KiB|MiB)\/s$/.exec(text ?? "");
  if (!given) throw new Error(`fault "${part}": expected a rate such as 512KiB/s or 1MiB/s`);
  return Number(given[1]) * { KiB: 1_024, MiB: 1_024 ** 2 }[given[2] as "KiB" | "MiB"];
}

/** From 0 up to but without 1, always the same for the same user. */
export function placeOfUser(user: string): number {
  return createHash("sha256").update(`faults ${user}`).digest().readUInt32BE(0) / 2 ** 32;
}

export type Verdict = "serve" | "fail" | "hang";

/** What holds now, and what it does to a request. */
export class FaultSwitch {
  #text = "";
  #faults: Faults = {};
  #timers: NodeJS.Timeout[] = [];
  #leaked: Buffer[] = [];
  #leakedBytes = 0;
  readonly #token: Buffer;

  constructor(dataDir: string, env: NodeJS.ProcessEnv = process.env) {
    this.#token = Buffer.from(env["FAULTS_TOKEN"] || ownToken(dataDir));
    this.set(env["FAULTS"] ?? "");
    if (this.#faults.crashAtStart) {
      log.error("fault: crash at start");
      process.exit(70);
    }
  }

  get text(): string {
    return this.#text;
  }

  allows(authorization: string | undefined): boolean {
    const given = Buffer.from(/^Bearer (.+)$/.exec(authorization ?? "")?.[1] ?? "");
    return this.#token.length > 0 && given.length === this.#token.length && timingSafeEqual(given, this.#token);
  }

  set(text: string): void {
    const faults = parseFaults(text);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers = [];
    this.#leaked = [];
    this.#leakedBytes = 0;
    this.#faults = faults;
    this.#text = text.trim();
    if (faults.leak) this.#leak(faults.leak.bytesPerSecond);
    if (faults.crash) {
      this.#timers.push(
        setTimeout(() => {
          log.error("fault: crash");
          process.exit(70);
        }, faults.crash.afterMs),
      );
    }
    if (this.#text) log.warn("faults are on", { faults: this.#text });
  }

  /** Whether even health checks get no answer. */
  get hangsWhole(): boolean {
    return this.#faults.hang?.share === 1;
  }

  async meet(user: string | undefined): Promise<Verdict> {
    const { latency, error, errorUser, hang } = this.#faults;
    if (latency && Math.random() < latency.share) await new Promise((done) => setTimeout(done, latency.ms));
    if (hang && Math.random() < hang.share) return "hang";
    if (errorUser && user && placeOfUser(user) < errorUser.share) return "fail";
    if (error && Math.random() < error.share) return "fail";
    return "serve";
  }

  #leak(bytesPerSecond: number): void {
    const ticks = 10;
    const timer = setInterval(() => {
      if (this.#leakedBytes >= LEAK_BYTES_MAX) return;
      // Filled, because untouched pages cost nothing and would look like no leak at all.
      this.#leaked.push(Buffer.alloc(Math.ceil(bytesPerSecond / ticks), 1));
      this.#leakedBytes += Math.ceil(bytesPerSecond / ticks);
    }, 1_000 / ticks);
    this.#timers.push(timer.unref());
  }
}

function ownToken(dataDir: string): string {
  const file = join(dataDir, "faults-token");
  try {
    mkdirSync(dataDir, { recursive: true });
    try {
      writeFileSync(file, randomBytes(24).toString("hex"), { mode: 0o600, flag: "wx" });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      chmodSync(file, 0o600);
    }
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    log.warn("faults can't be switched while running: no FAULTS_TOKEN and no place for one", { file, error });
    return "";
  }
}
