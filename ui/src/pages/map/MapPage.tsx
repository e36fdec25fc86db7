import { Button, SegmentedControl, Skeleton } from "@mantine/core";
import { useMediaQuery } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { IconTopologyStar3 } from "@tabler/icons-react";
import { lazy, Suspense } from "react";
import { Link, useSearchParams } from "react-router";
import type { MapData } from "../../api/client";
import * as q from "../../api/queries";
import { count, percent, perSecond } from "../../parts/figures";
import { INTERNET } from "../../parts/kind";
import { Page } from "../../parts/Page";
import { Empty, Failure } from "../../parts/States";
import { useEnvironment } from "../../shell/environment";
import { Findings } from "./Findings";
import classes from "./Map.module.css";
import { MapList } from "./MapList";
import { Side } from "./Side";

const Graph = lazy(async () => ({ default: (await import("./Graph")).Graph }));

/** Home: services, what they need, and the calls between them as the gateway sees them. */
export function MapPage() {
  const environment = useEnvironment();
  const map = useQuery(q.map(environment));
  const [params, setParams] = useSearchParams();
  const narrow = useMediaQuery("(max-width: 48em)", false, { getInitialValueInEffect: false });
  const view = params.get("view") ?? (narrow ? "list" : "map");
  const chosen = params.get("on");

  const put = (key: string, value: string | null) =>
    setParams(
      (before) => {
        if (value) before.set(key, value);
        else before.delete(key);
        return before;
      },
      { replace: true },
    );

  const empty = map.data && map.data.nodes.every((node) => node.name === INTERNET);
  return (
    <Page
      title="Map"
      full
      about={map.data && !empty ? <Totals map={map.data} /> : "Services, what they need, and the calls between them"}
      actions={
        <SegmentedControl
          size="xs"
          aria-label="Show as"
          value={view}
          onChange={(next) => put("view", next)}
          data={[
            { value: "map", label: "Map" },
            { value: "list", label: "List" },
          ]}
        />
      }
    >
      <Findings />
      {map.isPending && <Skeleton h="60vh" aria-label="Reading the map" aria-busy="true" />}
      {map.error && !map.data && <Failure problem={map.error} retry={() => void map.refetch()} />}
      {empty && (
        <div className="card">
          <Empty icon={IconTopologyStar3} title="Nothing is delivered yet" command="stead up PATH">
            A folder with a <span className="mono">stead.yaml</span> is all it takes. Without one, <span className="mono">stead init</span> writes a first
            by looking at the folder.
          </Empty>
        </div>
      )}
      {map.data && !empty && view === "list" && <MapList map={map.data} />}
      {map.data && !empty && view === "map" && (
        <div className={`card ${classes.stage}`}>
          <div className={classes.canvas}>
            <Suspense fallback={<Skeleton h="100%" />}>
              <Graph map={map.data} chosen={chosen} choose={(name) => put("on", name)} vertical={narrow} />
            </Suspense>
            <Legend />
          </div>
          {chosen && <Side map={map.data} name={chosen} choose={(name) => put("on", name)} />}
        </div>
      )}
      {map.data && map.error && (
        <Button component={Link} to="/" variant="subtle" size="xs" mt="xs">
          These figures are old: {map.error.message}
        </Button>
      )}
    </Page>
  );
}

function Totals({ map }: { map: MapData }) {
  const things = map.nodes.filter((node) => node.name !== INTERNET);
  const troubled = things.filter((node) => node.health && !["healthy", "stopped"].includes(node.health));
  const entering = map.edges.filter((edge) => edge.from === INTERNET);
  const rate = entering.reduce((sum, edge) => sum + edge.requests_per_second, 0);
  const failed = entering.reduce((sum, edge) => sum + edge.requests_per_second * edge.error_ratio, 0);
  return (
    <div className={`${classes.totals} num`}>
      <span>
        <b>{things.length}</b> on the map
      </span>
      <span>{troubled.length === 0 ? "all is well" : <b>{count(troubled.length, "needs a look", "need a look")}</b>}</span>
      <span>
        <b>{perSecond(rate)}</b> requests/s from outside
      </span>
      <span>
        <b>{percent(rate > 0 ? failed / rate : 0)}</b> failed
      </span>
    </div>
  );
}

function Legend() {
  return (
    <div className={classes.legend} aria-hidden>
      <span>
        <svg width="26" height="6">
          <path d="M0 3h26" stroke="var(--accent)" strokeWidth="2" />
        </svg>
        calls in the last minute
      </span>
      <span>
        <svg width="26" height="6">
          <path d="M0 3h26" stroke="var(--line-strong)" strokeWidth="1.5" strokeDasharray="4 4" />
        </svg>
        declared, quiet
      </span>
    </div>
  );
}
