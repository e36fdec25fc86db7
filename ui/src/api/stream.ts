import type { QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { BASE, type Change } from "./client";

export type Liveness = "connecting" | "live" | "reconnecting";

const WAIT_MS_FIRST = 500;
const WAIT_MS_MAX = 15_000;
/** Changes that come close together are read once. */
const GATHER_MS = 120;

/** Which queries a change of each kind makes old. */
const TOUCHES: Record<string, string[]> = {
  service: ["services", "service", "map"],
  plan: ["plans", "plan"],
  run: ["runs", "run", "plans", "plan"],
  event: ["events"],
  person: ["people", "session"],
  token: ["tokens"],
  secret: ["secrets"],
};

let state: Liveness = "connecting";
const watchers = new Set<() => void>();

function become(next: Liveness): void {
  if (state === next) return;
  state = next;
  for (const watcher of watchers) watcher();
}

export function useLiveness(): Liveness {
  return useSyncExternalStore(
    (watcher) => {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    () => state,
  );
}

/** Follows the server's stream of changes until the returned function is called. */
export function follow(client: QueryClient): () => void {
  let source: EventSource | null = null;
  let waitMs = WAIT_MS_FIRST;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let gathering: ReturnType<typeof setTimeout> | undefined;
  let lost = false;
  const stale = new Set<string>();

  const flush = () => {
    gathering = undefined;
    for (const key of stale) void client.invalidateQueries(key === "*" ? {} : { queryKey: [key] });
    stale.clear();
  };
  const touch = (keys: string[]) => {
    for (const key of keys) stale.add(key);
    gathering ??= setTimeout(flush, GATHER_MS);
  };
  const open = () => {
    source = new EventSource(`${BASE}/stream`);
    source.addEventListener("open", () => {
      waitMs = WAIT_MS_FIRST;
      become("live");
      // Whatever happened meanwhile was not announced to us.
      if (lost) touch(["*"]);
      lost = false;
    });
    source.addEventListener("message", (message: MessageEvent<string>) => {
      const change = JSON.parse(message.data) as Change;
      touch(TOUCHES[change.kind] ?? ["*"]);
    });
    source.addEventListener("error", () => {
      source?.close();
      lost = true;
      become("reconnecting");
      timer = setTimeout(open, waitMs * (0.75 + Math.random() / 2));
      waitMs = Math.min(waitMs * 2, WAIT_MS_MAX);
    });
  };
  open();
  return () => {
    clearTimeout(timer);
    clearTimeout(gathering);
    source?.close();
    become("connecting");
  };
}
