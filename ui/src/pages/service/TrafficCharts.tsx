import { useMemo } from "react";
import type { Series } from "../../api/client";
import { Chart, type Line } from "../../parts/Chart";
import { compact, millis } from "../../parts/figures";
import classes from "./Service.module.css";

const SYNC = "traffic";
const rate = (value: number): string => `${value >= 10 ? compact(value) : value.toFixed(value === 0 ? 0 : 1)}/s`;

/** Requests, errors and latency as the gateway counted them, with one crosshair. */
export function TrafficCharts({ series }: { series: Series }) {
  const drawn = useMemo(() => {
    const { points, step_seconds: step } = series;
    const line = (label: string, color: string, values: (number | null)[], more: Partial<Line> = {}): Line => ({ label, color, values, ...more });
    return {
      at: points.map((point) => point.at_ms / 1000),
      requests: [
        line("answered", "--chart-1", points.map((point) => point.requests / step), { fill: true }),
        line("tried again", "--chart-4", points.map((point) => point.retries / step), { dash: [4, 3] }),
      ],
      errors: [line("failed", "--chart-3", points.map((point) => point.errors / step), { fill: true })],
      latency: [
        line("p50", "--chart-1", points.map((point) => point.p50_ms ?? null)),
        line("p90", "--chart-2", points.map((point) => point.p90_ms ?? null), { dash: [6, 3] }),
        line("p99", "--chart-3", points.map((point) => point.p99_ms ?? null), { dash: [2, 2] }),
      ],
    };
  }, [series]);
  return (
    <div className={classes.charts}>
      <Chart title="Requests" at={drawn.at} lines={drawn.requests} show={rate} sync={SYNC} />
      <Chart title="Errors" at={drawn.at} lines={drawn.errors} show={rate} sync={SYNC} />
      <Chart title="Latency" at={drawn.at} lines={drawn.latency} show={millis} sync={SYNC} />
    </div>
  );
}
