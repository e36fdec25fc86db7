import { Button, Menu, NumberInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconChevronDown, IconPlayerPlay, IconRotateClockwise, IconScale } from "@tabler/icons-react";
import { useState } from "react";
import type { ServiceDetail } from "../../api/client";
import { change, useChange } from "../../api/queries";
import { Confirm } from "../../parts/Confirm";
import { count } from "../../parts/figures";
import { tell } from "../../parts/tell";
import { useEnvironment } from "../../shell/environment";
import { useMay } from "../../shell/may";
import { jobsOf } from "./jobs";
import { RotatePassword } from "./RotatePassword";

const TOUCHES = ["service", "services", "map"];
/** The server has its own limit; this is for slips of the finger. */
const REPLICAS_MAX = 100;

export function Actions({ service }: { service: ServiceDetail }) {
  const may = useMay("operator");
  const jobs = jobsOf(service);
  if (!may) return null;
  return (
    <>
      {jobs.length > 0 && <RunJob service={service} jobs={jobs} />}
      {service.kind === "service" && <Scale service={service} />}
      {service.kind !== "job" && <Restart service={service} />}
      {service.belongs_to && <RotatePassword name={service.name} owner={service.belongs_to} />}
    </>
  );
}

function Restart({ service }: { service: ServiceDetail }) {
  const environment = useEnvironment();
  const [opened, dialog] = useDisclosure(false);
  const restart = useChange((why: string | undefined) => change.restart(environment, service.name, why), TOUCHES, () => {
    dialog.close();
    tell.done(`${service.name} restarts`, "New replicas take over as soon as they are ready.");
  });
  const callers = service.endpoints.filter((endpoint) => endpoint.audience !== "public").map((endpoint) => endpoint.audience);
  const platform = service.kind === "postgres" || service.kind === "redis";
  return (
    <>
      <Button variant="default" leftSection={<IconRotateClockwise size={16} />} onClick={dialog.open}>
        Restart
      </Button>
      <Confirm
        opened={opened}
        close={() => {
          dialog.close();
          restart.reset();
        }}
        title={`Restart ${service.name}`}
        effects={
          platform
            ? [
                `${service.name} is stopped in order and started again with the same data and credentials.`,
                `For that moment ${service.belongs_to ?? "what uses it"} cannot reach it; open connections end.`,
              ]
            : [
                `${count(service.replicas_wanted, "new replica", "new replicas")} of release ${service.release?.number ?? "–"} are started.`,
                "As each is ready, it takes over from an old one; requests go on being answered.",
                "The old ones finish the requests they hold and are stopped.",
                ...(callers.length > 0 ? [`${callers.join(", ")} and other callers notice nothing, unless the new ones fail.`] : []),
              ]
        }
        undo="Nothing is changed that would need undoing: the release, its configuration and its data stay as they are."
        action="Restart"
        asksWhy
        pending={restart.isPending}
        problem={restart.error}
        act={restart.mutate}
      />
    </>
  );
}

function Scale({ service }: { service: ServiceDetail }) {
  const environment = useEnvironment();
  const [opened, dialog] = useDisclosure(false);
  const [replicas, setReplicas] = useState(service.replicas_wanted);
  const scale = useChange((why: string | undefined) => change.scale(environment, service.name, replicas, why), TOUCHES, () => {
    dialog.close();
    tell.done(`${service.name} scales to ${replicas}`);
  });
  const before = service.replicas_wanted;
  const memory = service.replicas[0]?.memory_bytes_max;
  return (
    <>
      <Button
        variant="default"
        leftSection={<IconScale size={16} />}
        onClick={() => {
          setReplicas(before);
          dialog.open();
        }}
      >
        Scale
      </Button>
      <Confirm
        opened={opened}
        close={() => {
          dialog.close();
          scale.reset();
        }}
        title={`Scale ${service.name}`}
        effects={effectsOfScale(service.name, before, replicas, memory ?? null)}
        undo={
          <>
            Undone by scaling back to {before}. It holds until the next plan is applied, which sets what stands in <span className="mono">stead.yaml</span>.
          </>
        }
        action={`Scale to ${replicas}`}
        dangerous={replicas === 0}
        disabled={replicas === before}
        asksWhy
        pending={scale.isPending}
        problem={scale.error}
        act={scale.mutate}
      >
        <NumberInput
          label="Replicas"
          value={replicas}
          min={0}
          max={REPLICAS_MAX}
          allowDecimal={false}
          onChange={(value) => setReplicas(typeof value === "number" ? value : before)}
          w={140}
        />
      </Confirm>
    </>
  );
}

function effectsOfScale(name: string, before: number, after: number, memoryMax: number | null): string[] {
  if (after === before) return [`Nothing: ${name} has ${count(before, "replica")} already.`];
  if (after === 0) return [`All ${count(before, "replica")} of ${name} finish the requests they hold and are stopped.`, "Whoever calls it then gets 503."];
  if (after < before) return [`${count(before - after, "replica")} of ${name} finish the requests they hold and are stopped.`, `${count(after, "replica")} go on serving.`];
  const memory = memoryMax ? ` Together they may take up to ${Math.round(((after - before) * memoryMax) / 1024 / 1024)} MiB more.` : "";
  return [`${count(after - before, "new replica", "new replicas")} of ${name} are started.${memory}`, "Each gets requests once it is ready."];
}

function RunJob({ service, jobs }: { service: ServiceDetail; jobs: string[] }) {
  const environment = useEnvironment();
  const [job, setJob] = useState<string | null>(null);
  const only = service.kind === "job" && jobs.length === 1 ? jobs[0] : undefined;
  const start = useChange((why: string | undefined) => change.runJob(environment, service.name, job ?? "", why), TOUCHES, () => {
    tell.done(`${job} runs`, "Its outcome goes on the ledger.");
    setJob(null);
  });
  return (
    <>
      {only && (
        <Button variant="default" leftSection={<IconPlayerPlay size={16} />} onClick={() => setJob(only)}>
          Run now
        </Button>
      )}
      {!only && (
      <Menu>
        <Menu.Target>
          <Button variant="default" leftSection={<IconPlayerPlay size={16} />} rightSection={<IconChevronDown size={14} />}>
            Run a job
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          {jobs.map((name) => (
            <Menu.Item key={name} onClick={() => setJob(name)}>
              {name}
            </Menu.Item>
          ))}
        </Menu.Dropdown>
      </Menu>
      )}
      <Confirm
        opened={job !== null}
        close={() => {
          setJob(null);
          start.reset();
        }}
        title={`Run ${job} now`}
        effects={[`The job ${job} of ${service.name} is started once, with the files and bindings of release ${service.release?.number ?? "–"}.`, "What it does is up to its command. Its output is in the log."]}
        undo="What a job has done is undone by nobody but itself."
        final
        action="Run now"
        asksWhy
        pending={start.isPending}
        problem={start.error}
        act={start.mutate}
      />
    </>
  );
}
