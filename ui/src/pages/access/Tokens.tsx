import { Button, Checkbox, Group, Modal, MultiSelect, Select, Stack, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { IconAlertTriangle, IconCircleOff, IconKey, IconPlus } from "@tabler/icons-react";
import { useState, type SyntheticEvent } from "react";
import type { Schemas, Token } from "../../api/client";
import * as q from "../../api/queries";
import { change, useChange } from "../../api/queries";
import { Confirm } from "../../parts/Confirm";
import { Mark } from "../../parts/Health";
import { List, type Column } from "../../parts/List";
import { Actor, useNames } from "../../parts/names";
import { Empty, Failure, ListSkeleton } from "../../parts/States";
import { Time } from "../../parts/Time";
import { tell } from "../../parts/tell";
import { outranks } from "../../shell/may";
import { Once } from "./Once";

/** A token has the role of its owner, limited to its scopes: what that role lacks is not offered. */
const SCOPES: { value: string; role: Schemas["Role"]; about: string }[] = [
  { value: "read", role: "viewer", about: "See services, plans, changes, logs, names of secrets" },
  { value: "telemetry", role: "operator", about: "Send metrics" },
  { value: "deploy", role: "operator", about: "Plan, apply, restart, scale, run jobs, remove services" },
  { value: "exec", role: "operator", about: "Run commands beside a replica, and so see its secrets" },
  { value: "secrets", role: "operator", about: "Set and remove secrets, never read them" },
  { value: "access", role: "viewer", about: "One's own tokens; an admin's can let in people" },
  { value: "machine", role: "admin", about: "Back up, upgrade and stop Stead, delete data" },
];
const DAYS = [
  { value: "7", label: "in 7 days" },
  { value: "30", label: "in 30 days" },
  { value: "90", label: "in 90 days" },
  { value: "365", label: "in a year" },
];
const SOON_MS = 7 * 24 * 3_600_000;

export function Tokens() {
  const role = q.useSession().data?.role;
  const names = useNames();
  const tokens = useQuery(q.tokens);
  const [making, make] = useDisclosure(false);
  const [made, setMade] = useState<Schemas["CreatedToken"] | null>(null);
  const [revoking, setRevoking] = useState<Token | null>(null);

  const columns: Column<Token>[] = [
    {
      key: "name",
      title: "Name",
      value: (token) => token.name,
      render: (token) => (
        <>
          <b>{token.name}</b>
          <div className="mono dim">{token.id}</div>
        </>
      ),
    },
    { key: "scopes", title: "May", value: (token) => token.scopes.join(", ") },
    { key: "environments", title: "In", wideOnly: true, value: (token) => token.environments.join(", ") || "all environments" },
    { key: "expires", title: "Runs out", value: (token) => token.expires_at, render: (token) => <Expiry at={token.expires_at} /> },
    {
      key: "used",
      title: "Last used",
      value: (token) => token.last_used_at,
      render: (token) => (token.last_used_at ? <Time at={token.last_used_at} /> : <span className="dim">never</span>),
    },
    { key: "by", title: "Made by", wideOnly: true, value: (token) => names.actor(token.created_by).label, render: (token) => <Actor of={token.created_by} /> },
    {
      key: "act",
      title: "Actions",
      hiddenTitle: true,
      sortable: false,
      align: "right",
      value: () => null,
      render: (token) => (
        <Button size="compact-xs" variant="subtle" color="red" onClick={() => setRevoking(token)} aria-label={`Revoke ${token.name}`}>
          Revoke
        </Button>
      ),
    },
  ];

  if (tokens.isPending) return <ListSkeleton />;
  if (tokens.error && !tokens.data) {
    return (
      <div className="card">
        <Failure problem={tokens.error} title="The tokens could not be read" retry={() => void tokens.refetch()} />
      </div>
    );
  }
  return (
    <>
      <List
        name="Tokens"
        rows={tokens.data}
        columns={columns}
        id={(token) => token.id}
        sort="name"
        noun={["token", "tokens"]}
        action={
          <Button leftSection={<IconPlus size={16} />} onClick={make.open}>
            Create a token
          </Button>
        }
        faded={(token) => new Date(token.expires_at).getTime() < Date.now()}
        empty={
          <Empty icon={IconKey} title="No tokens yet">
            A token lets a program in, such as a pipeline that delivers: it has only the scopes it is given, and it expires.
          </Empty>
        }
      />
      <Modal opened={making} onClose={make.close} title="Create a token" closeButtonProps={{ "aria-label": "Close" }}>
        <TokenForm
          role={role ?? "viewer"}
          close={make.close}
          done={(created) => {
            make.close();
            setMade(created);
          }}
        />
      </Modal>
      <Once title={`The token ${made?.token.name ?? ""}`} value={made?.secret ?? null} label="Token" close={() => setMade(null)}>
        Programs send it as <span className="mono">Authorization: Bearer …</span>; the command line takes it from <span className="mono">STEAD_TOKEN</span>.
      </Once>
      <Revoke token={revoking} close={() => setRevoking(null)} />
    </>
  );
}

function Expiry({ at }: { at: string }) {
  const left = new Date(at).getTime() - Date.now();
  if (left < 0) return <Mark plain tone="idle" icon={IconCircleOff} label="Expired" />;
  return (
    <>
      {left < SOON_MS && <IconAlertTriangle size={14} aria-label="soon" style={{ color: "var(--warn)", verticalAlign: "-2px", marginRight: 4 }} />}
      <Time at={at} />
    </>
  );
}

function TokenForm({ role, close, done }: { role: Schemas["Role"]; close: () => void; done: (created: Schemas["CreatedToken"]) => void }) {
  const all = q.useInfo().data?.environments ?? [];
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<string[]>(["read"]);
  const [environments, setEnvironments] = useState<string[]>([]);
  const [days, setDays] = useState("90");
  const create = useChange(change.createToken, ["tokens"], done);
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    create.mutate({ name: name.trim(), scopes, environments, days: Number(days) });
  };
  return (
    <form onSubmit={submit}>
      <Stack>
        <TextInput label="Name" description="What it is for, such as ci" value={name} onChange={(event) => setName(event.currentTarget.value)} required withAsterisk={false} autoComplete="off" data-autofocus />
        <Checkbox.Group label="It may" value={scopes} onChange={setScopes}>
          <Stack gap="xs" mt={6}>
            {SCOPES.filter((scope) => outranks(role, scope.role)).map((scope) => (
              <Checkbox key={scope.value} value={scope.value} label={scope.value} description={scope.about} />
            ))}
          </Stack>
        </Checkbox.Group>
        {all.length > 1 && <MultiSelect label="In these environments" placeholder={environments.length === 0 ? "All" : ""} data={all} value={environments} onChange={setEnvironments} />}
        <Select label="Runs out" data={DAYS} value={days} onChange={(next) => next && setDays(next)} allowDeselect={false} />
        {create.error && <Failure problem={create.error} compact />}
        <Group justify="end">
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button type="submit" loading={create.isPending} disabled={!name.trim() || scopes.length === 0}>
            Create
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Revoke({ token, close }: { token: Token | null; close: () => void }) {
  const revoke = useChange((id: string) => change.revokeToken(id), ["tokens"], () => {
    tell.done(`${token?.name} is revoked`);
    close();
  });
  return (
    <Confirm
      opened={token !== null}
      close={() => {
        revoke.reset();
        close();
      }}
      title={`Revoke ${token?.name ?? ""}`}
      effects={["The token stops working at once.", "Whatever still uses it gets 401 from its next request on."]}
      undo="It cannot be undone; a new token can be made."
      final
      dangerous
      action="Revoke"
      pending={revoke.isPending}
      problem={revoke.error}
      act={() => token && revoke.mutate(token.id)}
    />
  );
}
