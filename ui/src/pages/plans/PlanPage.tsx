import { Button, Group, Text, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { IconAlertTriangle, IconArrowRight, IconPlayerPlay } from "@tabler/icons-react";
import { useNavigate, useParams } from "react-router";
import type { Plan, Schemas, Step } from "../../api/client";
import * as q from "../../api/queries";
import { change, useChange } from "../../api/queries";
import { Confirm } from "../../parts/Confirm";
import { count } from "../../parts/figures";
import { Mark } from "../../parts/Health";
import { Actor } from "../../parts/names";
import { Page } from "../../parts/Page";
import { Command, Failure, ListSkeleton, sentence } from "../../parts/States";
import { Time } from "../../parts/Time";
import { scalar, yaml } from "../../parts/yaml";
import { useEnvironment } from "../../shell/environment";
import { useMay } from "../../shell/may";
import { Commit } from "../service/Releases";
import { ACTION, PLAN } from "./marks";
import classes from "./Plans.module.css";
import { subjects } from "./PlansPage";
import { RunCard } from "./RunCard";
import { Tally } from "./Tally";

const ORDER: Schemas["Action"][] = ["remove", "replace", "change", "create", "keep"];

export function PlanPage() {
  const environment = useEnvironment();
  const { id = "" } = useParams();
  const plan = useQuery(q.plan(environment, id));
  const found = plan.data;
  return (
    <Page
      title={found ? `Plan: ${subjects(found)}` : "Plan"}
      heading={
        <Group gap="sm" component="span">
          <span className="break">{found ? subjects(found) : "Plan"}</span>
          {found && <Mark {...PLAN[found.state]} />}
        </Group>
      }
      about={found && <Origin plan={found} />}
      actions={found?.state === "open" && <Apply plan={found} />}
    >
      {plan.isPending && <ListSkeleton />}
      {plan.error && !found && (
        <div className="card">
          <Failure problem={plan.error} title="The plan could not be read" retry={() => void plan.refetch()} />
        </div>
      )}
      {found && <Body plan={found} />}
    </Page>
  );
}

function Body({ plan }: { plan: Plan }) {
  const missing = plan.missing_blobs?.length ?? 0;
  return (
    <>
      {plan.state === "stale" && (
        <div className={classes.note}>
          What it was made from has changed since, so it can no longer be applied. Make a new one: <Command text={`stead plan ${plan.source.project}`} />
        </div>
      )}
      {plan.run && <RunCard id={plan.run} />}
      <Warnings warnings={plan.warnings ?? []} />
      {missing > 0 && (
        <Warnings warnings={[`${count(missing, "file")} of its artifacts are not uploaded yet; stead up does that`]} />
      )}
      {ORDER.map((action) => (
        <Steps key={action} action={action} steps={plan.steps.filter((step) => step.action === action)} />
      ))}
    </>
  );
}

function Origin({ plan }: { plan: Plan }) {
  const { source } = plan;
  return (
    <div className={classes.origin}>
      <span>
        <Tally summary={plan.summary} />
      </span>
      <span>
        <Commit source={source} />
        {source.author && `, ${source.author.replace(/ <.*/, "")}`}
        {source.committed_at && (
          <>
            , <Time at={source.committed_at} />
          </>
        )}
      </span>
      <span>
        planned by <Actor of={plan.created_by} /> <Time at={plan.created_at} />
      </span>
      <span className="mono">{source.project}</span>
    </div>
  );
}

function Warnings({ warnings }: { warnings: string[] }) {
  return warnings.map((warning) => (
    <div key={warning} className={classes.warning} role="note">
      <IconAlertTriangle size={16} aria-hidden />
      <span>{sentence(warning)}</span>
    </div>
  ));
}

function Steps({ action, steps }: { action: Schemas["Action"]; steps: Step[] }) {
  if (steps.length === 0) return null;
  const look = ACTION[action];
  if (action === "keep") {
    return (
      <details className={classes.kept}>
        <summary>
          {count(steps.length, "thing stays", "things stay")} as {steps.length === 1 ? "it is" : "they are"}
        </summary>
        <p>{steps.map((step) => step.subject).join(", ")}</p>
      </details>
    );
  }
  return (
    <section aria-label={look.title} className={classes.group}>
      <Title order={2} className={classes.groupTitle}>
        {look.title} <span className="dim num">{steps.length}</span>
      </Title>
      <div className="card">
        {steps.map((step) => (
          <article key={step.subject} className={classes.step} aria-label={step.subject}>
            <span className={classes.sign} data-tone={look.tone} aria-hidden>
              {look.sign}
            </span>
            <div className={classes.stepBody}>
              <div>
                <b>{step.subject}</b> <span className="dim">{step.why}</span>
              </div>
              {step.after && step.after.length > 0 && (
                <Text size="xs" c="dimmed">
                  after {step.after.join(", ")}
                </Text>
              )}
              <Fields changes={step.changes ?? []} />
              <Warnings warnings={step.warnings ?? []} />
            </div>
          </article>
        ))}
      </div>
    </section>
  );
}

function Fields({ changes }: { changes: Schemas["FieldChange"][] }) {
  if (changes.length === 0) return null;
  return (
    <table className={classes.fields}>
      <caption className="sr">Fields that differ</caption>
      <thead className="sr">
        <tr>
          <th scope="col">Field</th>
          <th scope="col">Before</th>
          <th scope="col" aria-hidden />
          <th scope="col">After</th>
        </tr>
      </thead>
      <tbody>
        {changes.map((field) => (
          <tr key={field.path}>
            <th scope="row">{field.path}</th>
            <td className={classes.before}>{field.before === undefined || field.before === null ? <span className="dim">not set</span> : <del>{value(field.before)}</del>}</td>
            <td aria-hidden>
              <IconArrowRight size={13} />
            </td>
            <td className={classes.after}>{field.after === undefined || field.after === null ? <span className="dim">not set</span> : <ins>{value(field.after)}</ins>}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const value = (given: unknown): string => (typeof given === "object" ? yaml(given) : scalar(given));

function Apply({ plan }: { plan: Plan }) {
  const environment = useEnvironment();
  const navigate = useNavigate();
  const may = useMay("operator");
  const [opened, dialog] = useDisclosure(false);
  const apply = useChange(() => change.apply(environment, plan.id), ["plans", "plan", "runs", "services", "map"], (run) => {
    dialog.close();
    void navigate(`/runs/${run.id}`);
  });
  if (!may) return null;
  const doing = plan.steps.filter((step) => step.action !== "keep");
  const risky = doing.some((step) => step.action === "remove" || (step.warnings ?? []).length > 0);
  return (
    <>
      <Button leftSection={<IconPlayerPlay size={16} />} onClick={dialog.open} disabled={doing.length === 0 || (plan.missing_blobs ?? []).length > 0}>
        Apply
      </Button>
      <Confirm
        opened={opened}
        close={() => {
          dialog.close();
          apply.reset();
        }}
        title="Apply this plan"
        effects={doing.map((step) => (
          <span key={step.subject}>
            {ACTION[step.action].title} <b>{step.subject}</b>
            {step.warnings?.map((warning) => (
              <Text key={warning} size="xs" c="var(--warn)">
                {sentence(warning)}
              </Text>
            ))}
          </span>
        ))}
        undo="When a step fails, what was done before it is undone, and the releases of now go on serving."
        final={risky}
        action={`Apply ${count(doing.length, "step")}`}
        pending={apply.isPending}
        problem={apply.error}
        act={() => apply.mutate(undefined)}
      >
        {plan.source.dirty && <Warnings warnings={["it holds changes that are in no commit"]} />}
      </Confirm>
    </>
  );
}

