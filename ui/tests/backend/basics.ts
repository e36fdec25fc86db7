import type { Schemas } from "../../src/api/client";

/** Words that all of the test double shares. */

export type All = Schemas;
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;

export const iso = (ms: number): string => new Date(ms).toISOString();

/** The same numbers each time, so that screenshots can be compared. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state * 1664525 + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A prefix and 32 hexadecimal digits, as Stead makes them. */
export function longId(prefix: string, seed: number): string {
  const next = random(seed * 2654435761 + prefix.length);
  next();
  return `${prefix}_0197f2c4a0${Array.from({ length: 22 }, () => Math.floor(next() * 16).toString(16)).join("")}`;
}
export const replicaId = (name: string, at: number): string => longId("rep", name.length * 131 + name.charCodeAt(1) * 7 + at);
