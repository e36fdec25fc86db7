import { ApiProblem, csrfHeaders } from "./client";

/** Where Stead speaks as Prometheus does. */
export const PROMETHEUS = "/prometheus";

export type Labels = Record<string, string>;
/** Seconds since the Unix epoch, and the value as text: `NaN`, `+Inf` and all. */
export type Point = [number, string];
export interface Histogram {
  count: string;
  sum: string;
  buckets?: [number, string, string, string][];
}
export interface RangeSeries {
  metric: Labels;
  values?: Point[];
  histograms?: [number, Histogram][];
}
export interface InstantSeries {
  metric: Labels;
  value?: Point;
  histogram?: [number, Histogram];
}
export type Result =
  | { resultType: "matrix"; result: RangeSeries[] }
  | { resultType: "vector"; result: InstantSeries[] }
  | { resultType: "scalar" | "string"; result: Point };

export interface Answered<T> {
  data: T;
  warnings: string[];
  infos: string[];
}

export interface Exemplars {
  seriesLabels: Labels;
  exemplars: { labels: Labels; value: string; timestamp: number }[];
}

export interface Cardinality {
  headStats: { numSeries: number; numLabelPairs: number; minTime: number; maxTime: number };
  seriesCountByMetricName: Count[];
  labelValueCountByLabelName: Count[];
  memoryInBytesByLabelName: Count[];
  seriesCountByLabelValuePair: Count[];
}
export interface Count {
  name: string;
  value: number;
}

export interface Metadata {
  type: string;
  help: string;
  unit: string;
}

interface Wire<T> {
  status: "success" | "error";
  data?: T;
  error?: string;
  errorType?: string;
  warnings?: string[];
  infos?: string[];
  message?: string;
  code?: string;
  hint?: string;
}

type Parameters = Record<string, string | number | string[] | undefined>;

/** Asks `/prometheus/api/v1`. Throws `ApiProblem` with the words of the server. */
export async function ask<T>(path: string, parameters: Parameters = {}, options: { post?: boolean; signal?: AbortSignal } = {}): Promise<Answered<T>> {
  const form = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (Array.isArray(value)) for (const each of value) form.append(name, each);
    else if (value !== undefined) form.set(name, String(value));
  }
  const url = `${PROMETHEUS}/api/v1${path}`;
  let response: Response;
  try {
    response = await (options.post
      ? fetch(url, {
          method: "POST",
          body: form,
          headers: csrfHeaders(),
          credentials: "same-origin",
          ...(options.signal ? { signal: options.signal } : {}),
        })
      : fetch(form.size > 0 ? `${url}?${form}` : url, { credentials: "same-origin", ...(options.signal ? { signal: options.signal } : {}) }));
  } catch (problem) {
    if (problem instanceof DOMException && problem.name === "AbortError") throw problem;
    throw new ApiProblem(0, "network.unreachable", "Stead cannot be reached", "Check that it runs: stead status");
  }
  const body = (await response.json().catch(() => ({}))) as Wire<T>;
  if (response.ok && body.status === "success") return { data: body.data as T, warnings: body.warnings ?? [], infos: body.infos ?? [] };
  const said = body.error ?? body.message ?? `The server answered ${response.status} ${response.statusText}`;
  throw new ApiProblem(response.status, body.errorType ?? body.code ?? `http.${response.status}`, said, body.hint);
}
