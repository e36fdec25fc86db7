import { keepPreviousData, queryOptions, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, rememberCsrf, take, type Schemas } from "./client";

/** How often figures that nobody announces (traffic, processor, memory) are read again. */
const FIGURES_MS = 5_000;
const EVENTS_PER_PAGE = 50;

export const session = queryOptions({
  queryKey: ["session"],
  queryFn: async () => {
    const found = await take(api.GET("/api/stead/v1/session"));
    rememberCsrf(found.csrf);
    return found;
  },
  staleTime: 5 * 60_000,
  retry: false,
});

export const info = queryOptions({
  queryKey: ["info"],
  queryFn: () => take(api.GET("/api/stead/v1/info")),
  staleTime: 60_000,
});

export const services = (environment: string) =>
  queryOptions({
    queryKey: ["services", environment],
    queryFn: () => take(api.GET("/api/stead/v1/services", { params: { query: { environment } } })),
    refetchInterval: 30_000,
  });

export const service = (environment: string, name: string) =>
  queryOptions({
    queryKey: ["service", environment, name],
    queryFn: () => take(api.GET("/api/stead/v1/services/{name}", { params: { path: { name }, query: { environment } } })),
    refetchInterval: FIGURES_MS,
  });

export const traffic = (environment: string, name: string, seconds: number) =>
  queryOptions({
    queryKey: ["traffic", environment, name, seconds],
    queryFn: () =>
      take(api.GET("/api/stead/v1/services/{name}/traffic", { params: { path: { name }, query: { environment, seconds } } })),
    refetchInterval: FIGURES_MS,
    placeholderData: keepPreviousData,
  });

export interface LogFilter {
  tail?: number;
  contains?: string;
  replica?: string;
}

export const logs = (environment: string, name: string, filter: LogFilter) =>
  queryOptions({
    queryKey: ["logs", environment, name, filter],
    queryFn: () =>
      take(
        api.GET("/api/stead/v1/services/{name}/logs", { params: { path: { name }, query: { environment, ...filter } } }),
      ),
    refetchInterval: FIGURES_MS,
  });

export const map = (environment: string) =>
  queryOptions({
    queryKey: ["map", environment],
    queryFn: () => take(api.GET("/api/stead/v1/map", { params: { query: { environment } } })),
    refetchInterval: FIGURES_MS,
    placeholderData: keepPreviousData,
  });

export const plans = (environment: string) =>
  queryOptions({
    queryKey: ["plans", environment],
    queryFn: () => take(api.GET("/api/stead/v1/plans", { params: { query: { environment } } })),
  });

export const plan = (environment: string, id: string) =>
  queryOptions({
    queryKey: ["plan", environment, id],
    queryFn: () => take(api.GET("/api/stead/v1/plans/{id}", { params: { path: { id }, query: { environment } } })),
  });

export const runs = (environment: string) =>
  queryOptions({
    queryKey: ["runs", environment],
    queryFn: () => take(api.GET("/api/stead/v1/runs", { params: { query: { environment } } })),
  });

export const run = (environment: string, id: string) =>
  queryOptions({
    queryKey: ["run", environment, id],
    queryFn: () => take(api.GET("/api/stead/v1/runs/{id}", { params: { path: { id }, query: { environment } } })),
    // The stream announces progress; this is for a stream that is down.
    refetchInterval: (query) => (query.state.data?.state === "running" ? 2_000 : false),
  });

export interface EventFilter {
  subject?: string;
  kind?: string;
  actor?: string;
  correlation?: string;
  /** Made at this time or later, RFC 3339. */
  from?: string;
  /** Made before this time, RFC 3339. */
  to?: string;
  /** Of all environments. */
  all?: boolean;
  descending?: boolean;
  limit?: number;
}

export function readEvents(environment: string, filter: EventFilter, after?: string) {
  const query = { environment, limit: EVENTS_PER_PAGE, ...filter, ...(after ? { after: Number(after) } : {}) };
  return take(api.GET("/api/stead/v1/events", { params: { query } }));
}

export const events = (environment: string, filter: EventFilter) =>
  queryOptions({
    queryKey: ["events", "few", environment, filter],
    queryFn: () => readEvents(environment, filter),
  });

export const secrets = (environment: string) =>
  queryOptions({
    queryKey: ["secrets", environment],
    queryFn: () => take(api.GET("/api/stead/v1/secrets", { params: { query: { environment } } })),
  });

export const people = queryOptions({
  queryKey: ["people"],
  queryFn: () => take(api.GET("/api/stead/v1/people")),
});

export const tokens = queryOptions({
  queryKey: ["tokens"],
  queryFn: () => take(api.GET("/api/stead/v1/tokens")),
});

/** A change: sends it, then reads again what it touches. */
export function useChange<Input, Output>(
  send: (input: Input) => Promise<Output>,
  touches: string[],
  onDone?: (output: Output, input: Input) => void,
) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: send,
    onSuccess: (output, input) => {
      for (const key of [...touches, "events"]) void client.invalidateQueries({ queryKey: [key] });
      onDone?.(output, input);
    },
  });
}

/** The calls that change something. All throw `ApiProblem`. */
export const change = {
  signIn: (body: Schemas["SignIn"]) => take(api.POST("/api/stead/v1/session", { body })),
  signOut: () => take(api.DELETE("/api/stead/v1/session")),
  setPassword: (body: Schemas["SetPassword"]) => take(api.PUT("/api/stead/v1/session/password", { body })),
  restart: (environment: string, name: string, why?: string) =>
    take(
      api.POST("/api/stead/v1/services/{name}/restart", {
        params: { path: { name }, query: { environment } },
        body: why ? { why } : {},
      }),
    ),
  scale: (environment: string, name: string, replicas: number, why?: string) =>
    take(
      api.POST("/api/stead/v1/services/{name}/scale", {
        params: { path: { name }, query: { environment } },
        body: why ? { replicas, why } : { replicas },
      }),
    ),
  runJob: (environment: string, name: string, job: string, why?: string) =>
    take(
      api.POST("/api/stead/v1/services/{name}/jobs/{job}/run", {
        params: { path: { name, job }, query: { environment } },
        body: why ? { why } : {},
      }),
    ),
  planRotation: (environment: string, service: string, need: string) =>
    take(
      api.POST("/api/stead/v1/plans", {
        params: { query: { environment } },
        body: { source: { project: "" }, documents: [], rotation: { service, need } },
      }),
    ),
  exec: (environment: string, name: string, body: Schemas["Exec"]) =>
    take(
      api.POST("/api/stead/v1/services/{name}/exec", {
        params: { path: { name }, query: { environment } },
        body,
      }),
    ),
  apply: (environment: string, id: string) =>
    take(api.POST("/api/stead/v1/plans/{id}/apply", { params: { path: { id }, query: { environment } } })),
  cancel: (environment: string, id: string) =>
    take(api.POST("/api/stead/v1/runs/{id}/cancel", { params: { path: { id }, query: { environment } }, body: {} })),
  setSecret: (environment: string, name: string, value: string) =>
    take(api.PUT("/api/stead/v1/secrets/{name}", { params: { path: { name }, query: { environment } }, body: { value } })),
  removeSecret: (environment: string, name: string) =>
    take(api.DELETE("/api/stead/v1/secrets/{name}", { params: { path: { name }, query: { environment } } })),
  invite: (body: Schemas["Invite"]) => take(api.POST("/api/stead/v1/people", { body })),
  changePerson: (id: string, body: Schemas["ChangePerson"]) =>
    take(api.PATCH("/api/stead/v1/people/{id}", { params: { path: { id } }, body })),
  newLink: (id: string) => take(api.POST("/api/stead/v1/people/{id}/link", { params: { path: { id } } })),
  createToken: (body: Schemas["NewToken"]) => take(api.POST("/api/stead/v1/tokens", { body })),
  revokeToken: (id: string) => take(api.DELETE("/api/stead/v1/tokens/{id}", { params: { path: { id } } })),
  verifyLedger: () => take(api.GET("/api/stead/v1/events/verify")),
};

/** The ledger's verdict is asked for by a person, never by itself: it reads the whole ledger. */
export const useVerdict = () => useMutation({ mutationFn: change.verifyLedger });

export const useSession = () => useQuery(session);
export const useInfo = () => useQuery(info);
