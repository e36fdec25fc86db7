import { Anchor, SegmentedControl, Skeleton, Text, Title } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { Link, useSearchParams } from "react-router";
import type { ServiceDetail } from "../../api/client";
import * as q from "../../api/queries";
import { Failure } from "../../parts/States";
import { Actor } from "../../parts/names";
import { Time } from "../../parts/Time";
import { words } from "../changes/words";
import { useEnvironment } from "../../shell/environment";
import { LogPane } from "./LogPane";
import { Replicas } from "./Replicas";
import classes from "./Service.module.css";
import { TrafficCharts } from "./TrafficCharts";

const SPANS = [
  { value: "300", label: "5 min" },
  { value: "900", label: "15 min" },
  { value: "3600", label: "1 h" },
];
const SPAN_DEFAULT = "900";
const CHANGES_SHOWN = 6;
const LINES_SHOWN = 14;

export function Overview({ service }: { service: ServiceDetail }) {
  const environment = useEnvironment();
  const [params, setParams] = useSearchParams();
  const span = SPANS.find((each) => each.value === params.get("span"))?.value ?? SPAN_DEFAULT;
  const traffic = useQuery({ ...q.traffic(environment, service.name, Number(span)), enabled: service.kind === "service" });
  const filter = useMemo(() => ({ subject: service.id, descending: true, limit: CHANGES_SHOWN }), [service.id]);
  const changes = useQuery(q.events(environment, filter));

  return (
    <>
      {service.kind === "service" && (
        <section aria-labelledby="traffic">
          <div className={classes.bar}>
            <Title order={2} id="traffic">
              Traffic
            </Title>
            <SegmentedControl
              size="xs"
              aria-label="Time span"
              data={SPANS}
              value={span}
              onChange={(next) => setParams((before) => (next === SPAN_DEFAULT ? before.delete("span") : before.set("span", next), before), { replace: true, preventScrollReset: true })}
            />
          </div>
          {traffic.isPending && <Skeleton h={220} aria-busy="true" aria-label="Reading the traffic" />}
          {traffic.error && !traffic.data && <Failure problem={traffic.error} compact retry={() => void traffic.refetch()} />}
          {traffic.data && <TrafficCharts series={traffic.data} />}
        </section>
      )}
      <section className={classes.section} aria-labelledby="replicas">
        <div className={classes.bar}>
          <Title order={2} id="replicas">
            Replicas
          </Title>
        </div>
        <Replicas service={service} />
      </section>
      <div className={classes.two}>
        <section aria-labelledby="log">
          <div className={classes.bar}>
            <Title order={2} id="log">
              Log
            </Title>
            <Anchor component={Link} to={`/services/${service.name}/logs`} size="sm">
              Follow and search
            </Anchor>
          </div>
          <LogPane name={service.name} lines={LINES_SHOWN} />
        </section>
        <section aria-labelledby="lately">
          <div className={classes.bar}>
            <Title order={2} id="lately">
              Latest changes
            </Title>
            <Anchor component={Link} to={`/changes?subject=${service.name}`} size="sm">
              All of them
            </Anchor>
          </div>
          <div className="card">
            {changes.error && <Failure problem={changes.error} compact retry={() => void changes.refetch()} />}
            {changes.data?.items.length === 0 && (
              <Text size="sm" c="dimmed" p="md">
                Nothing is on record yet.
              </Text>
            )}
            <ul className={classes.lines}>
              {changes.data?.items.map((event) => (
                <li key={event.id}>
                  <span>
                    <Anchor component={Link} to={`/changes?subject=${service.name}&open=${event.id}`} inherit fw={560}>
                      {words(event.kind)}
                    </Anchor>{" "}
                    <span className="dim">by <Actor of={event.actor} /></span>
                    <br />
                    <span className="break">{event.why}</span>
                  </span>
                  <span className="dim" style={{ textAlign: "right" }}>
                    <Time at={event.at} />
                  </span>
                </li>
              ))}
            </ul>
          </div>
        </section>
      </div>
    </>
  );
}
