import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import * as q from "../../api/queries";
import { useEnvironment } from "../../shell/environment";
import { words } from "../changes/words";
import type { Moment } from "./Graph";
import type { Window } from "./useExplore";

const LOOKED_AT = 200;
const SHOWN_MAX = 12;

/** Releases and changes of configuration in the time shown, from the ledger. */
export function useMoments(window: Window): Moment[] {
  const environment = useEnvironment();
  const releases = useQuery(q.events(environment, { kind: "stead.release", descending: true, limit: LOOKED_AT })).data;
  const secrets = useQuery(q.events(environment, { kind: "stead.secret", descending: true, limit: LOOKED_AT })).data;
  const services = useQuery(q.events(environment, { kind: "stead.service", descending: true, limit: LOOKED_AT })).data;
  return useMemo(() => {
    const all = [...(releases?.items ?? []), ...(secrets?.items ?? []), ...(services?.items ?? [])];
    return all
      .map((event) => ({ at: new Date(event.at).getTime() / 1000, words: `${words(event.kind)}: ${event.why}`, kind: kindOf(event.kind) }))
      .filter((moment) => moment.at >= window.start && moment.at <= window.end)
      .sort((a, b) => b.at - a.at)
      .slice(0, SHOWN_MAX);
  }, [releases, secrets, services, window]);
}

const kindOf = (kind: string): Moment["kind"] => (kind.startsWith("stead.release") ? "release" : kind.startsWith("stead.secret") ? "configuration" : "other");
