import { Button, Group, NumberInput, Select, Text, TextInput } from "@mantine/core";
import { IconTerminal2 } from "@tabler/icons-react";
import { useState, type SyntheticEvent } from "react";
import type { Schemas, ServiceDetail } from "../../api/client";
import { change, useChange } from "../../api/queries";
import { shortId } from "../../parts/names";
import { Failure } from "../../parts/States";
import { useEnvironment } from "../../shell/environment";
import { useMay } from "../../shell/may";
import classes from "./Service.module.css";
import { words } from "./words";

const SECONDS_DEFAULT = 60;
const SECONDS_MAX = 600;

/** One command beside a replica, to its end: it reads no input. */
export function Exec({ service }: { service: ServiceDetail }) {
  const environment = useEnvironment();
  const may = useMay("operator");
  const ready = service.replicas.filter((each) => each.state === "ready" || each.state === "not_ready");
  const [line, setLine] = useState("");
  const [replica, setReplica] = useState<string | null>(null);
  const [seconds, setSeconds] = useState(SECONDS_DEFAULT);
  const exec = useChange((body: Schemas["Exec"]) => change.exec(environment, service.name, body), []);
  const command = words(line);
  const canRun = may && ready.length > 0 && command !== null && command.length > 0;
  const run = (event: SyntheticEvent) => {
    event.preventDefault();
    if (canRun && !exec.isPending) exec.mutate({ command, timeout_seconds: seconds, ...(replica ? { replica } : {}) });
  };
  return (
    <>
      <Text size="sm" mb="sm">
        Runs beside a replica, as its user, with its environment and so with its secrets. It reads no input and ends after {seconds} seconds at most. That it ran, and
        which program, stands on the ledger; its arguments and output do not.
      </Text>
      <form onSubmit={run}>
        <Group align="flex-end" gap="sm" mb="md">
          <TextInput
            label="Command"
            placeholder="node --version"
            className="mono"
            style={{ flex: "1 1 20rem" }}
            autoComplete="off"
            spellCheck={false}
            value={line}
            onChange={(event) => setLine(event.currentTarget.value)}
            error={line.trim() !== "" && command === null ? "A quote is still open." : undefined}
          />
          <Select label="Replica" placeholder="Any ready one" clearable w={190} data={ready.map((each) => ({ value: each.id, label: shortId(each.id) }))} value={replica} onChange={setReplica} />
          <NumberInput label="Seconds" w={100} min={1} max={SECONDS_MAX} allowDecimal={false} value={seconds} onChange={(value) => setSeconds(typeof value === "number" ? value : SECONDS_DEFAULT)} />
          <Button type="submit" leftSection={<IconTerminal2 size={16} />} disabled={!canRun} loading={exec.isPending}>
            Run
          </Button>
        </Group>
      </form>
      {!may && <Text size="sm" c="dimmed">Your role may not run commands: it takes an operator.</Text>}
      {may && ready.length === 0 && <Text size="sm" c="dimmed">No replica of {service.name} runs.</Text>}
      {exec.error && (
        <div className="card">
          <Failure problem={exec.error} title="The command was not run to its end" compact />
        </div>
      )}
      {exec.data && <Outcome outcome={exec.data} />}
    </>
  );
}

function Outcome({ outcome }: { outcome: Schemas["ExecOutcome"] }) {
  const how = outcome.signal != null ? `ended by signal ${outcome.signal}` : `exit status ${outcome.code ?? "unknown"}`;
  return (
    <section aria-label="Outcome">
      <Text size="sm" fw={560} mb={6} role="status">
        {how.charAt(0).toUpperCase() + how.slice(1)}
      </Text>
      {(["stdout", "stderr"] as const).map(
        (name) =>
          outcome[name] && (
            <div key={name}>
              <Text size="xs" c="dimmed" mb={2}>
                {name}
              </Text>
              <pre className={`card ${classes.code}`} tabIndex={0} aria-label={name}>
                {outcome[name]}
              </pre>
            </div>
          ),
      )}
      {!outcome.stdout && !outcome.stderr && (
        <Text size="sm" c="dimmed">
          It printed nothing.
        </Text>
      )}
    </section>
  );
}
