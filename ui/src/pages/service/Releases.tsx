import { Anchor, Button, Group, Modal, Select, Text } from "@mantine/core";
import { IconCircleCheckFilled, IconCircleDashed, IconCircleXFilled, IconGitCommit, IconGitCompare, IconHistory, type Icon } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";
import type { Release, Schemas, ServiceDetail } from "../../api/client";
import { Diff } from "../../parts/Diff";
import { Mark, type Tone } from "../../parts/Health";
import { List, type Column } from "../../parts/List";
import { Actor, useNames } from "../../parts/names";
import { Empty } from "../../parts/States";
import { Time } from "../../parts/Time";

const STATES: Record<Schemas["ReleaseState"], { tone: Tone; icon: Icon; label: string; spin?: boolean }> = {
  rolling: { tone: "busy", icon: IconCircleDashed, label: "Rolling out", spin: true },
  active: { tone: "good", icon: IconCircleCheckFilled, label: "Active" },
  superseded: { tone: "idle", icon: IconHistory, label: "Superseded" },
  failed: { tone: "bad", icon: IconCircleXFilled, label: "Failed" },
};

export function Releases({ service }: { service: ServiceDetail }) {
  const names = useNames();
  const [pair, setPair] = useState<{ from: string; to: string } | null>(null);
  const before = (release: Release): Release | undefined => service.releases.find((each) => each.number < release.number);
  const columns: Column<Release>[] = [
    { key: "number", title: "Release", width: 90, value: (release) => release.number, render: (release) => <b className="num">{release.number}</b> },
    {
      key: "state",
      title: "State",
      value: (release) => STATES[release.state].label,
      render: (release) => {
        const { tone, icon, label, spin } = STATES[release.state];
        return (
          <>
            <Mark tone={tone} icon={icon} label={label} spin={spin} />
            {release.reason && (
              <Text size="xs" c="dimmed" mt={3} maw={380} className="break">
                {release.reason}
              </Text>
            )}
          </>
        );
      },
    },
    {
      key: "commit",
      title: "Commit",
      value: (release) => release.source.commit,
      render: (release) => <Commit source={release.source} />,
    },
    { key: "author", title: "Author", wideOnly: true, nowrap: true, value: (release) => release.source.author, render: (release) => (release.source.author ?? "–").replace(/ <.*/, "") },
    { key: "by", title: "By", wideOnly: true, value: (release) => names.actor(release.created_by).label, render: (release) => <Actor of={release.created_by} /> },
    { key: "at", title: "When", value: (release) => release.created_at, render: (release) => <Time at={release.created_at} /> },
    {
      key: "compare",
      title: "Compare",
      hiddenTitle: true,
      sortable: false,
      align: "right",
      value: () => null,
      render: (release) => {
        const earlier = before(release);
        return (
          earlier && (
            <Button size="compact-xs" variant="subtle" leftSection={<IconGitCompare size={14} />} onClick={() => setPair({ from: earlier.id, to: release.id })}>
              Compare with {earlier.number}
            </Button>
          )
        );
      },
    },
  ];
  return (
    <>
      <List name="Releases" rows={service.releases} columns={columns} id={(release) => release.id} sort="-number" noun={["release", "releases"]} empty={<Empty icon={IconHistory} title="Not released yet" command="stead up PATH" />} faded={(release) => release.state === "superseded"} />
      <Modal opened={pair !== null} onClose={() => setPair(null)} size="xl" title="Compare two releases" closeButtonProps={{ "aria-label": "Close" }}>
        {pair && <Compare service={service} from={pair.from} to={pair.to} choose={setPair} />}
      </Modal>
    </>
  );
}

function Compare(props: { service: ServiceDetail; from: string; to: string; choose: (pair: { from: string; to: string }) => void }) {
  const { service, from, to, choose } = props;
  const find = (id: string) => service.releases.find((release) => release.id === id);
  const data = service.releases.map((release) => ({ value: release.id, label: `Release ${release.number}` }));
  return (
    <>
      <Group mb="md" grow>
        <Select label="From" data={data} value={from} allowDeselect={false} onChange={(next) => next && choose({ from: next, to })} />
        <Select label="To" data={data} value={to} allowDeselect={false} onChange={(next) => next && choose({ from, to: next })} />
      </Group>
      <Diff before={content(find(from))} after={content(find(to))} label="What differs" />
      {[from, to].some((id) => !find(id)?.definition) && (
        <Text size="sm" mt="sm" role="note">
          What the older of them ran is not shown here: only the newest releases carry their definition.
        </Text>
      )}
      <Text size="xs" c="dimmed" mt="sm">
        The exact fields that changed stand in the <Anchor component={Link} to={`/changes?subject=${service.name}`} inherit>ledger</Anchor>.
      </Text>
    </>
  );
}

/** What a release is made of; when and by whom it was made is not part of it. */
function content(release: Release | undefined): unknown {
  if (!release) return "";
  const { source, artifact, secrets, definition } = release;
  return { ...(definition ? { definition } : {}), artifact, secrets, source };
}

export function Commit({ source }: { source: Schemas["Source"] }) {
  if (!source.commit) return <span className="dim">no commit</span>;
  return (
    <span style={{ whiteSpace: "nowrap" }} title={source.commit}>
      <IconGitCommit size={14} aria-hidden style={{ verticalAlign: "-2px" }} /> <span className="mono">{source.commit.slice(0, 8)}</span>
      {source.dirty && <span className="dim"> with changes</span>}
    </span>
  );
}
