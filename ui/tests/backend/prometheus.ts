import type { IncomingMessage, ServerResponse } from "node:http";

/** Stands in for `/prometheus` in the tests of the pages: a few series with a form, refusals, remarks. */

const SERVICES = ["cart", "catalog", "checkout", "payments", "web"];
const METRICS = ["node_memory_MemAvailable_bytes", "stead_gateway_requests_total", "stead_replica_cpu_seconds_total", "up"];

type Labels = Record<string, string>;

const seriesOf = (query: string): Labels[] => {
  if (query.includes("nothing")) return [];
  const by = SERVICES.map((service) => ({ service }));
  return query.startsWith("sum by") ? by : by.map((labels) => ({ __name__: "up", job: "shop", ...labels }));
};
const valueAt = (query: string, labels: Labels, at: number): string => {
  const phase = SERVICES.indexOf(labels.service ?? "") + query.length;
  return String(Math.round((20 + phase * 4 + 6 * Math.sin(at / 400 + phase)) * 1000) / 1000);
};

class Refused extends Error {
  constructor(
    readonly status: number,
    readonly kind: string,
    message: string,
  ) {
    super(message);
  }
}

function check(query: string): void {
  if (query.includes("((")) throw new Refused(400, "bad_data", 'invalid parameter "query": 1:6: parse error: unclosed left parenthesis');
  if (query.includes("slow")) throw new Refused(503, "timeout", "the query took longer than 2m");
}

const routes: Record<string, (query: URLSearchParams, path: string) => unknown> = {
  "/query_range": (asked) => {
    const query = asked.get("query") ?? "";
    check(query);
    const [start, end, step] = ["start", "end", "step"].map((name) => Number(asked.get(name))) as [number, number, number];
    const times = Array.from({ length: Math.floor((end - start) / step) + 1 }, (_, at) => start + at * step);
    const result = seriesOf(query).map((metric) => ({ metric, values: times.map((at) => [at, valueAt(query, metric, at)]) }));
    return { resultType: "matrix", result };
  },
  "/query": (asked) => {
    const query = asked.get("query") ?? "";
    check(query);
    const at = Number(asked.get("time") ?? 1_700_000_000);
    if (query === "histogram") {
      const buckets = [0.1, 0.2, 0.4, 0.8].map((low, place) => [0, String(low), String(low * 2), String([3, 12, 7, 1][place])]);
      return { resultType: "vector", result: [{ metric: { __name__: "latency" }, histogram: [at, { count: "23", sum: "8.5", buckets }] }] };
    }
    if (/^\d/.test(query)) return { resultType: "scalar", result: [at, query] };
    return { resultType: "vector", result: seriesOf(query).map((metric) => ({ metric, value: [at, valueAt(query, metric, at)] })) };
  },
  "/query_exemplars": () => [],
  "/format_query": (asked) => (asked.get("query") ?? "").replaceAll(/\s+/g, " ").trim(),
  "/label/__name__/values": () => METRICS,
  "/label/service/values": () => SERVICES,
  "/labels": () => ["__name__", "job", "service"],
  "/series": () => SERVICES.map((service) => ({ __name__: "up", job: "shop", service })),
  "/metadata": () => ({ up: [{ type: "gauge", help: "Whether the target answered.", unit: "" }] }),
  "/status/flags": () => ({}),
  "/status/tsdb": () => ({
    headStats: { numSeries: 1_204, numLabelPairs: 310, minTime: 0, maxTime: 0 },
    seriesCountByMetricName: METRICS.map((name, at) => ({ name, value: 400 - at * 90 })),
    labelValueCountByLabelName: [{ name: "route", value: 61 }, { name: "service", value: 5 }],
    memoryInBytesByLabelName: [{ name: "route", value: 8_192 }],
    seriesCountByLabelValuePair: [{ name: "job=shop", value: 900 }],
  }),
};

/** Answers a request below `/prometheus/api/v1`. */
export async function servePrometheus(request: IncomingMessage, response: ServerResponse, path: string, query: URLSearchParams): Promise<void> {
  let text = "";
  for await (const chunk of request) text += chunk;
  const asked = request.method === "POST" ? new URLSearchParams(text) : query;
  const send = (status: number, body: unknown) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  try {
    const route = routes[path];
    if (!route) throw new Refused(404, "not_found", `there is no ${path}`);
    const warnings = asked.get("query")?.includes("rate(up") ? ['metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "up" (1:6)'] : [];
    send(200, { status: "success", data: route(asked, path), ...(warnings.length > 0 ? { infos: warnings } : {}) });
  } catch (problem) {
    const refused = problem instanceof Refused ? problem : new Refused(500, "internal", String(problem));
    send(refused.status, { status: "error", errorType: refused.kind, error: refused.message });
  }
}
