import { Anchor } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { IconChecklist } from "@tabler/icons-react";
import { useMemo } from "react";
import { Link } from "react-router";
import type { Plan, Run } from "../../api/client";
import * as q from "../../api/queries";
import { Mark } from "../../parts/Health";
import { List, type Column, type Facet } from "../../parts/List";
import { Actor, useNames } from "../../parts/names";
import { Page } from "../../parts/Page";
import { Empty, Failure, ListSkeleton } from "../../parts/States";
import { Time } from "../../parts/Time";
import { useEnvironment } from "../../shell/environment";
import { Commit } from "../service/Releases";
import { PLAN, RUN } from "./marks";
import { Tally } from "./Tally";

const facets: Facet<Plan>[] = [{ key: "state", label: "State", value: (plan) => PLAN[plan.state].label, side: ["Open", "Applied", "Stale"] }];

export function PlansPage() {
  const environment = useEnvironment();
  const plans = useQuery(q.plans(environment));
  const runs = useQuery(q.runs(environment)).data;
  const names = useNames();
  const columns = useMemo(() => columnsOf(new Map(runs?.map((run) => [run.id, run])), names), [runs, names]);
  return (
    <Page title="Plans" about="What would change, to review and apply, and what came of it">
      {plans.isPending && <ListSkeleton />}
      {plans.error && !plans.data && (
        <div className="card">
          <Failure problem={plans.error} title="The plans could not be read" retry={() => void plans.refetch()} />
        </div>
      )}
      {plans.data && (
        <List
          name="Plans"
          rows={plans.data}
          columns={columns}
          facets={facets}
          id={(plan) => plan.id}
          sort="-at"
          noun={["plan", "plans"]}
          faded={(plan) => plan.state === "stale"}
          empty={
            <Empty icon={IconChecklist} title="No plans yet" command="stead plan PATH">
              A plan shows what would change before anything does. <span className="mono">stead up PATH</span> makes one and asks to apply it.
            </Empty>
          }
        />
      )}
    </Page>
  );
}

function columnsOf(runs: Map<string, Run>, names: ReturnType<typeof useNames>): Column<Plan>[] {
  const outcome = (plan: Plan) => (plan.run ? runs.get(plan.run) : undefined);
  return [
    {
      key: "what",
      title: "What",
      value: (plan) => subjects(plan),
      render: (plan) => (
        <Anchor component={Link} to={`/plans/${plan.id}`} inherit fw={560}>
          {subjects(plan)}
        </Anchor>
      ),
    },
    { key: "state", title: "State", value: (plan) => PLAN[plan.state].label, render: (plan) => <Mark {...PLAN[plan.state]} /> },
    {
      key: "tally",
      title: "Does",
      value: (plan) => plan.summary.create + plan.summary.change + plan.summary.replace + plan.summary.remove,
      render: (plan) => <Tally summary={plan.summary} />,
    },
    {
      key: "run",
      title: "Outcome",
      value: (plan) => outcome(plan)?.state,
      render: (plan) => {
        const run = outcome(plan);
        return run ? (
          <Link to={`/runs/${run.id}`}>
            <Mark plain {...RUN[run.state]} />
          </Link>
        ) : (
          <span className="dim">–</span>
        );
      },
    },
    { key: "commit", title: "Commit", wideOnly: true, value: (plan) => plan.source.commit, render: (plan) => <Commit source={plan.source} /> },
    { key: "by", title: "By", wideOnly: true, value: (plan) => names.actor(plan.created_by).label, render: (plan) => <Actor of={plan.created_by} /> },
    { key: "at", title: "When", value: (plan) => plan.created_at, render: (plan) => <Time at={plan.created_at} /> },
  ];
}

const SHOWN = 3;

/** Names of what it touches: the best title that a plan has. */
export function subjects(plan: Plan): string {
  const names = plan.steps.filter((step) => step.action !== "keep").map((step) => step.subject.replace(/^service\//, "").replace(/^need\//, ""));
  if (names.length === 0) return "Nothing differs";
  return names.length <= SHOWN ? names.join(", ") : `${names.slice(0, SHOWN - 1).join(", ")} and ${names.length - SHOWN + 1} more`;
}
