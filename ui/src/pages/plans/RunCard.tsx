import { Anchor, Button, Group, Progress, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { IconPlayerStop } from "@tabler/icons-react";
import { Link } from "react-router";
import type { Run } from "../../api/client";
import * as q from "../../api/queries";
import { change, useChange } from "../../api/queries";
import { Confirm } from "../../parts/Confirm";
import { Mark } from "../../parts/Health";
import { Actor } from "../../parts/names";
import { Failure, ListSkeleton } from "../../parts/States";
import { lasting, Time, useNow } from "../../parts/Time";
import { useEnvironment } from "../../shell/environment";
import { useMay } from "../../shell/may";
import { RUN, STEP } from "./marks";
import classes from "./Plans.module.css";

const OVER = new Set(["done", "skipped", "undone", "failed"]);

/** A run as it goes: each step with its state, and what went wrong. */
export function RunCard({ id, alone = false }: { id: string; alone?: boolean }) {
  const environment = useEnvironment();
  const run = useQuery(q.run(environment, id));
  if (run.isPending) return <ListSkeleton rows={4} />;
  if (run.error && !run.data) {
    return (
      <div className="card">
        <Failure problem={run.error} compact retry={() => void run.refetch()} />
      </div>
    );
  }
  const found = run.data;
  const over = found.steps.filter((step) => OVER.has(step.state)).length;
  return (
    <section className={`card ${classes.run}`} aria-label="Run">
      <div className={classes.runHead}>
        <Group gap="sm">
          <Mark {...RUN[found.state]} />
          <Text size="sm">
            {alone ? (
              <>
                of <Anchor component={Link} to={`/plans/${found.plan}`} inherit>this plan</Anchor>,{" "}
              </>
            ) : null}
            started by <Actor of={found.started_by} /> <Time at={found.started_at} />, <Took run={found} />
          </Text>
        </Group>
        {!alone && (
          <Anchor component={Link} to={`/runs/${found.id}`} size="sm">
            Open the run
          </Anchor>
        )}
        {found.state === "running" && <Cancel run={found} />}
      </div>
      {found.state === "running" && <Progress value={(over / Math.max(1, found.steps.length)) * 100} size="xs" aria-label={`${over} of ${found.steps.length} steps are over`} />}
      {found.problem && (
        <div className={classes.problem} role="alert">
          <b>Why it did not succeed</b>
          <span className="break">{found.problem}</span>
          {found.state === "undone" && <span>What had been done was undone; what served before went on serving.</span>}
        </div>
      )}
      <ol className={classes.steps}>
        {found.steps.map((step, at) => (
          <li key={`${at}${step.name}`} data-state={step.state}>
            <span className={classes.stepMark}>
              <Mark plain {...STEP[step.state]} />
            </span>
            <span className="break">
              {step.name}
              {step.message && <span className="dim"> – {step.message}</span>}
              {step.attempts > 1 && <span className="dim num"> ({step.attempts} attempts)</span>}
            </span>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Took({ run }: { run: Run }) {
  const now = useNow();
  const end = run.ended_at ? new Date(run.ended_at).getTime() : now;
  return (
    <span className="num">
      {run.ended_at ? "took" : "for"} {lasting(end - new Date(run.started_at).getTime())}
    </span>
  );
}

function Cancel({ run }: { run: Run }) {
  const environment = useEnvironment();
  const may = useMay("operator");
  const [opened, dialog] = useDisclosure(false);
  const cancel = useChange(() => change.cancel(environment, run.id), ["runs", "run", "plans", "plan"], dialog.close);
  if (!may) return null;
  return (
    <>
      <Button variant="default" size="xs" leftSection={<IconPlayerStop size={15} />} onClick={dialog.open}>
        Cancel the run
      </Button>
      <Confirm
        opened={opened}
        close={dialog.close}
        title="Cancel this run"
        effects={["The step that is under way ends first.", "No further step begins.", "What this run has done so far is undone, newest first."]}
        undo="The plan can be made and applied again."
        action="Cancel the run"
        dangerous
        pending={cancel.isPending}
        problem={cancel.error}
        act={() => cancel.mutate(undefined)}
      />
    </>
  );
}
