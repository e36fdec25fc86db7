import { UnstyledButton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { ask } from "../../api/prometheus";
import { Failure } from "../../parts/States";
import classes from "./Explore.module.css";

interface Example {
  words: string;
  expression: string;
  /** The metric without which it shows nothing. */
  needs: string;
}

const EXAMPLES: Example[] = [
  { words: "Requests per second of each service", expression: "sum by (service) (rate(stead_gateway_requests_total[1m]))", needs: "stead_gateway_requests_total" },
  {
    words: "Share of failed requests of each service",
    expression: 'sum by (service) (rate(stead_gateway_requests_total{code="5xx"}[5m])) / sum by (service) (rate(stead_gateway_requests_total[5m]))',
    needs: "stead_gateway_requests_total",
  },
  {
    words: "99th percentile of latency by service, seconds",
    expression: "histogram_quantile(0.99, sum by (service) (rate(stead_gateway_request_duration_seconds[5m])))",
    needs: "stead_gateway_request_duration_seconds",
  },
  { words: "Processor time of each replica, cores", expression: "rate(stead_replica_cpu_seconds_total[1m])", needs: "stead_replica_cpu_seconds_total" },
  { words: "Memory of each service", expression: "sum by (service) (stead_replica_memory_bytes)", needs: "stead_replica_memory_bytes" },
  { words: "Processor use of the host", expression: '1 - avg(rate(node_cpu_seconds_total{mode="idle"}[1m]))', needs: "node_cpu_seconds_total" },
  { words: "Free memory of the host", expression: "node_memory_MemAvailable_bytes", needs: "node_memory_MemAvailable_bytes" },
  { words: "What is scraped and does not answer", expression: "up == 0", needs: "up" },
];

/** A first page: questions that this server can answer. */
export function Examples({ choose }: { choose: (expression: string) => void }) {
  const names = useQuery({
    queryKey: ["prometheus", "names"],
    queryFn: ({ signal }) => ask<string[]>("/label/__name__/values", {}, { signal }),
    staleTime: 60_000,
  });
  if (names.error) return <Failure problem={names.error} title="The metrics could not be read" retry={() => void names.refetch()} />;
  const known = new Set(names.data?.data);
  const fitting = EXAMPLES.filter((example) => known.has(example.needs));
  const shown = fitting.length > 0 ? fitting : EXAMPLES;
  return (
    <section className={classes.examples} aria-label="Examples">
      <p className="dim">
        {names.data ? `${known.size.toLocaleString()} metrics are stored. ` : ""}
        Write an expression above and press Enter, or begin with one of these.
      </p>
      <ul>
        {shown.map((example) => (
          <li key={example.expression}>
            <UnstyledButton className={`card ${classes.example}`} onClick={() => choose(example.expression)}>
              <span>{example.words}</span>
              <code className="mono break">{example.expression}</code>
            </UnstyledButton>
          </li>
        ))}
      </ul>
    </section>
  );
}
