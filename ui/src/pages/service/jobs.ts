import type { ServiceDetail } from "../../api/client";

/** The name of a job service's own run. */
const MAIN = "main";

/** What can be run by name: the jobs of a service, and the main run of one that is a job itself. */
export function jobsOf(service: ServiceDetail): string[] {
  const definition = service.definition as { run?: { kind?: unknown } | null; jobs?: unknown } | null;
  const jobs = definition?.jobs && typeof definition.jobs === "object" ? Object.keys(definition.jobs) : [];
  return definition?.run?.kind === "job" ? [MAIN, ...jobs.filter((name) => name !== MAIN)] : jobs;
}
