import { Table as Grid } from "@mantine/core";
import type { ReactNode } from "react";
import type { Histogram, InstantSeries, Result } from "../../api/prometheus";
import classes from "./Explore.module.css";
import { figure, nameOf, number } from "./series";

const ROWS_MAX = 1_000;

/** An instant answer: a row a series, largest first. */
export function Table({ data, nothing }: { data: Result; nothing: ReactNode }) {
  if (data.resultType === "matrix") return <p className={classes.nothing}>This is a range of samples: put a function around it, such as rate(…).</p>;
  if (data.resultType !== "vector") return <p className={`${classes.single} num`}>{data.result[1]}</p>;
  if (data.result.length === 0) return nothing;
  const rows = [...data.result].sort((a, b) => weight(b) - weight(a)).slice(0, ROWS_MAX);
  return (
    <div className={classes.scroll}>
      <Grid>
        <Grid.Thead>
          <Grid.Tr>
            <Grid.Th>Series</Grid.Th>
            <Grid.Th className={classes.value ?? ""}>Value</Grid.Th>
          </Grid.Tr>
        </Grid.Thead>
        <Grid.Tbody>
          {rows.map((row) => (
            <Grid.Tr key={nameOf(row.metric)}>
              <Grid.Td className="mono break">{nameOf(row.metric)}</Grid.Td>
              <Grid.Td className={`${classes.value} num`} title={row.value?.[1]}>
                {row.value ? figure(number(row.value[1])) : row.histogram && <Buckets of={row.histogram[1]} />}
              </Grid.Td>
            </Grid.Tr>
          ))}
        </Grid.Tbody>
      </Grid>
      {data.result.length > ROWS_MAX && <p className="dim">The largest {ROWS_MAX} of {data.result.length} are shown.</p>}
    </div>
  );
}

const weight = (row: InstantSeries): number => {
  const value = number(row.value?.[1] ?? row.histogram?.[1].count ?? "0");
  return Number.isNaN(value) ? Number.NEGATIVE_INFINITY : value;
};

/** A native histogram as bars. */
function Buckets({ of }: { of: Histogram }) {
  const buckets = of.buckets ?? [];
  const most = Math.max(...buckets.map((bucket) => Number(bucket[3])), 0);
  return (
    <figure className={classes.buckets}>
      <figcaption>
        {figure(Number(of.count))} observations, mean {figure(Number(of.sum) / Number(of.count))}
      </figcaption>
      <ol>
        {buckets.map(([, low, high, amount]) => (
          <li key={low + high} title={`${low} to ${high}: ${amount}`} style={{ height: `${most > 0 ? Math.max(4, (Number(amount) / most) * 100) : 0}%` }}>
            <span className="sr">
              {low} to {high}: {amount}
            </span>
          </li>
        ))}
      </ol>
    </figure>
  );
}
