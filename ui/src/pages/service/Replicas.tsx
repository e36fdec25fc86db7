import { Anchor, Table, Text, Tooltip } from "@mantine/core";
import {
  IconAlertTriangleFilled,
  IconCheck,
  IconCircleCheckFilled,
  IconCircleDashed,
  IconCircleXFilled,
  IconHelpCircle,
  IconPlayerStopFilled,
  IconX,
  type Icon,
} from "@tabler/icons-react";
import { Link } from "react-router";
import type { Replica, Schemas, ServiceDetail } from "../../api/client";
import { bytes, cores } from "../../parts/figures";
import { Mark, type Tone } from "../../parts/Health";
import { shortId } from "../../parts/names";
import { Time, Uptime } from "../../parts/Time";
import classes from "./Service.module.css";

const STATES: Record<Schemas["ReplicaState"], { tone: Tone; icon: Icon; label: string; spin?: boolean }> = {
  starting: { tone: "busy", icon: IconCircleDashed, label: "Starting", spin: true },
  ready: { tone: "good", icon: IconCircleCheckFilled, label: "Ready" },
  not_ready: { tone: "warn", icon: IconAlertTriangleFilled, label: "Not ready" },
  stopping: { tone: "idle", icon: IconPlayerStopFilled, label: "Stopping" },
  exited: { tone: "bad", icon: IconCircleXFilled, label: "Exited" },
  lost: { tone: "bad", icon: IconHelpCircle, label: "Lost" },
};
/** From here on the memory limit is worth a look. */
const MEMORY_TIGHT = 0.8;

export function Replicas({ service }: { service: ServiceDetail }) {
  if (service.replicas.length === 0) {
    return (
      <div className="card">
        <Text size="sm" c="dimmed" p="md">
          {service.kind === "job" ? "The job does not run now." : "None runs: no replicas are asked for."}
        </Text>
      </div>
    );
  }
  const numbers = new Map(service.releases.map((release) => [release.id, release.number]));
  return (
    <div className={`card ${classes.table}`} tabIndex={0} role="region" aria-label="Replicas, table">
      <Table>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Replica</Table.Th>
            <Table.Th>State</Table.Th>
            <Table.Th data-align="right">Release</Table.Th>
            <Table.Th data-align="right">For</Table.Th>
            <Table.Th data-align="right">Cores</Table.Th>
            <Table.Th data-align="right">Memory</Table.Th>
            <Table.Th>Checks</Table.Th>
            <Table.Th data-align="right" visibleFrom="md">
              Process
            </Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {service.replicas.map((replica) => (
            <Row key={replica.id} service={service.name} replica={replica} release={numbers.get(replica.release)} />
          ))}
        </Table.Tbody>
      </Table>
    </div>
  );
}

function Row({ service, replica, release }: { service: string; replica: Replica; release: number | undefined }) {
  const state = STATES[replica.state];
  const runs = replica.state !== "exited" && replica.state !== "lost";
  return (
    <Table.Tr>
      <Table.Td>
        <Anchor component={Link} to={`/services/${service}/logs?replica=${encodeURIComponent(replica.id)}`} inherit fw={560}>
          <span title={replica.id}>{shortId(replica.id)}</span>
        </Anchor>
        {replica.notes?.map((note) => (
          <Text key={note} size="xs" c="dimmed" maw={280}>
            {note}
          </Text>
        ))}
      </Table.Td>
      <Table.Td>
        <Mark tone={state.tone} icon={state.icon} label={state.label} spin={state.spin} />
        {replica.exit && (
          <Text size="xs" c="dimmed" mt={2} maw={300} className="break">
            {replica.exit.oom && <b>Out of memory. </b>}
            {replica.exit.reason}, <Time at={replica.exit.at} />
          </Text>
        )}
      </Table.Td>
      <Table.Td data-align="right" className="num">
        {release ?? "–"}
      </Table.Td>
      <Table.Td data-align="right">
        <Uptime since={replica.since} />
      </Table.Td>
      <Table.Td data-align="right" className="num">
        {runs ? cores(replica.cpu_cores) : "–"}
      </Table.Td>
      <Table.Td data-align="right">{runs ? <Memory used={replica.memory_bytes} max={replica.memory_bytes_max ?? null} /> : "–"}</Table.Td>
      <Table.Td>
        {replica.checks?.map((check) => (
          <Tooltip key={check.name} label={check.message} disabled={!check.message}>
            <div>
              <Mark plain tone={check.ok ? "good" : "bad"} icon={check.ok ? IconCheck : IconX} label={check.ok ? check.name : `${check.name}, failed ${check.failures} times`} />
            </div>
          </Tooltip>
        ))}
        {(replica.checks ?? []).length === 0 && <span className="dim">none</span>}
      </Table.Td>
      <Table.Td data-align="right" className="num" visibleFrom="md">
        {replica.pid ?? "–"}
        {replica.port && <div className="dim">port {replica.port}</div>}
      </Table.Td>
    </Table.Tr>
  );
}

function Memory({ used, max }: { used: number; max: number | null }) {
  const share = max ? Math.min(1, used / max) : 0;
  return (
    <div className={`${classes.memory} num`}>
      <span>
        {bytes(used)}
        {max && <span className="dim"> of {bytes(max)}</span>}
        {share >= MEMORY_TIGHT && <IconAlertTriangleFilled size={12} aria-label="near its limit" style={{ marginLeft: 4, color: "var(--warn)" }} />}
      </span>
      {max && (
        <div className={classes.gauge} data-tight={share >= MEMORY_TIGHT || undefined} aria-hidden>
          <span style={{ width: `${share * 100}%` }} />
        </div>
      )}
    </div>
  );
}
