import createClient, { type Middleware } from "openapi-fetch";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Service = Schemas["Service"];
export type ServiceDetail = Schemas["ServiceDetail"];
export type Replica = Schemas["Replica"];
export type Release = Schemas["Release"];
export type Plan = Schemas["Plan"];
export type Step = Schemas["Step"];
export type Run = Schemas["Run"];
export type Event = Schemas["Event"];
export type LogLine = Schemas["LogLine"];
export type MapData = Schemas["Map"];
export type MapNode = Schemas["MapNode"];
export type MapEdge = Schemas["MapEdge"];
export type Person = Schemas["Person"];
export type Token = Schemas["Token"];
export type Secret = Schemas["Secret"];
export type Session = Schemas["Session"];
export type Info = Schemas["Info"];
export type Health = Schemas["Health"];
export type Kind = Schemas["Kind"];
export type Series = Schemas["Series"];
export type Change = Schemas["Change"];

export const BASE = "/api/stead/v1";

/** What the server said went wrong, or that it could not be reached. */
export class ApiProblem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint?: string | null,
  ) {
    super(message);
  }
}

let csrf: string | null = null;

/** Remembers the word that every change must carry. */
export function rememberCsrf(word: string | null | undefined): void {
  csrf = word ?? null;
}

/** What a change, or a question sent with POST, has to carry. */
export const csrfHeaders = (): Record<string, string> => (csrf ? { "X-Stead-Csrf": csrf } : {});

const sendCsrf: Middleware = {
  onRequest({ request }) {
    if (csrf && request.method !== "GET") request.headers.set("X-Stead-Csrf", csrf);
    return request;
  },
};

export const api = createClient<paths>({ credentials: "same-origin", headers: { Accept: "application/json" } });
api.use(sendCsrf);

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The body of an answer, or throws [`ApiProblem`]. */
export async function take<T>(call: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await call;
  } catch {
    throw new ApiProblem(0, "network.unreachable", "Stead cannot be reached", "Check that it runs: stead status");
  }
  if (answer.response.ok) return answer.data as T;
  throw asProblem(answer.response, answer.error);
}

function asProblem(response: Response, body: unknown): ApiProblem {
  if (body && typeof body === "object" && "message" in body) {
    const problem = body as Schemas["Problem"];
    return new ApiProblem(response.status, problem.code, problem.message, problem.hint);
  }
  return new ApiProblem(response.status, `http.${response.status}`, `The server answered ${response.status} ${response.statusText}`);
}
