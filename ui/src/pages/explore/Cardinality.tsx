import { Anchor, SegmentedControl, Title } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";
import { ask, type Cardinality as Report, type Count } from "../../api/prometheus";
import { bytes, count } from "../../parts/figures";
import { Failure, ListSkeleton } from "../../parts/States";
import classes from "./Explore.module.css";

const ROWS = ["10", "50", "200"];

/** What makes the number of series: the metric, the label, the pair at fault. */
export function Cardinality() {
  const [rows, setRows] = useState(ROWS[0]!);
  const found = useQuery({
    queryKey: ["prometheus", "cardinality", rows],
    queryFn: ({ signal }) => ask<Report>("/status/tsdb", { limit: rows }, { signal }),
    placeholderData: keepPreviousData,
    refetchInterval: 30_000,
  });
  if (found.isPending) return <ListSkeleton />;
  if (found.error && !found.data) return <Failure problem={found.error} title="The series could not be counted" retry={() => void found.refetch()} />;
  const report = found.data!.data;
  const series = report.headStats.numSeries;
  return (
    <>
      <div className={classes.controls}>
        <span>
          <b className="num">{series.toLocaleString()}</b> series, {count(report.headStats.numLabelPairs, "pair of label and value", "pairs of label and value")}
        </span>
        <SegmentedControl size="xs" aria-label="Rows" className={classes.right ?? ""} data={ROWS} value={rows} onChange={setRows} />
      </div>
      <div className={classes.tables}>
        <Counts title="Series by metric" rows={report.seriesCountByMetricName} whole={series} link={(name) => `/explore?q=${encodeURIComponent(`count({__name__=${JSON.stringify(name)}})`)}`} />
        <Counts title="Values by label" rows={report.labelValueCountByLabelName} />
        <Counts title="Series by label and value" rows={report.seriesCountByLabelValuePair} whole={series} />
        <Counts title="Memory by label" rows={report.memoryInBytesByLabelName} show={bytes} />
      </div>
    </>
  );
}

function Counts(props: { title: string; rows: Count[]; whole?: number; show?: (value: number) => string; link?: (name: string) => string }) {
  const { rows, show = (value: number) => value.toLocaleString() } = props;
  const most = props.whole || Math.max(...rows.map((row) => row.value), 1);
  return (
    <section className="card" aria-label={props.title}>
      <Title order={2} className={classes.tableTitle ?? ""}>
        {props.title}
      </Title>
      {rows.length === 0 && <p className={classes.nothing}>Nothing is stored yet.</p>}
      <ol className={classes.counts}>
        {rows.map((row) => (
          <li key={row.name}>
            <span className={classes.bar} style={{ width: `${Math.min(100, (row.value / most) * 100)}%` }} aria-hidden />
            <span className="mono break">{props.link ? <Anchor component={Link} to={props.link(row.name)} inherit>{row.name}</Anchor> : row.name}</span>
            <b className="num">{show(row.value)}</b>
          </li>
        ))}
      </ol>
    </section>
  );
}
