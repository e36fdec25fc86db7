import { ActionIcon, Anchor, Button, Group, Menu, Modal, PasswordInput, Stack, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { IconDots, IconKey, IconPlus, IconRobot } from "@tabler/icons-react";
import { useState, type SyntheticEvent } from "react";
import { Link } from "react-router";
import type { Secret } from "../../api/client";
import * as q from "../../api/queries";
import { change, useChange } from "../../api/queries";
import { Confirm } from "../../parts/Confirm";
import { Mark } from "../../parts/Health";
import { List, type Column, type Facet } from "../../parts/List";
import { Actor, useNames } from "../../parts/names";
import { Page } from "../../parts/Page";
import { Empty, Failure, ListSkeleton } from "../../parts/States";
import { Time } from "../../parts/Time";
import { tell } from "../../parts/tell";
import { useEnvironment } from "../../shell/environment";
import { useMay } from "../../shell/may";

const MADE_BY = { stead: "Made by Stead", people: "Set by people" } as const;
const facets: Facet<Secret>[] = [
  { key: "made", label: "Origin", value: (secret) => (secret.generated ? MADE_BY.stead : MADE_BY.people), side: [MADE_BY.people, MADE_BY.stead] },
];

export function SecretsPage() {
  const environment = useEnvironment();
  const may = useMay("operator");
  const secrets = useQuery(q.secrets(environment));
  const names = useNames();
  const [setting, setSetting] = useState<{ name: string | null } | null>(null);
  const [removing, setRemoving] = useState<Secret | null>(null);

  const columns: Column<Secret>[] = [
    { key: "name", title: "Name", value: (secret) => secret.name, render: (secret) => <b className="mono break">{secret.name}</b> },
    { key: "version", title: "Version", align: "right", value: (secret) => secret.version },
    {
      key: "origin",
      title: "Origin",
      wideOnly: true,
      value: (secret) => (secret.generated ? MADE_BY.stead : MADE_BY.people),
      render: (secret) => (secret.generated ? <Mark plain tone="idle" icon={IconRobot} label={MADE_BY.stead} /> : <span className="dim">{MADE_BY.people}</span>),
    },
    {
      key: "used",
      title: "Used by",
      value: (secret) => secret.used_by.join(" "),
      render: (secret) =>
        secret.used_by.length === 0 ? (
          <span className="dim">nobody</span>
        ) : (
          secret.used_by.map((name, at) => (
            <span key={name}>
              {at > 0 && ", "}
              <Anchor component={Link} to={`/services/${name}/configuration`} inherit>
                {name}
              </Anchor>
            </span>
          ))
        ),
    },
    { key: "by", title: "Set by", wideOnly: true, value: (secret) => names.actor(secret.updated_by).label, render: (secret) => <Actor of={secret.updated_by} /> },
    { key: "at", title: "Set", value: (secret) => secret.updated_at, render: (secret) => <Time at={secret.updated_at} /> },
    ...(may
      ? [
          {
            key: "act",
            title: "Actions",
            hiddenTitle: true,
            sortable: false,
            align: "right",
            value: () => null,
            render: (secret) => (
              <Menu>
                <Menu.Target>
                  <ActionIcon aria-label={`Actions for ${secret.name}`}>
                    <IconDots size={17} />
                  </ActionIcon>
                </Menu.Target>
                <Menu.Dropdown>
                  <Menu.Item onClick={() => setSetting({ name: secret.name })}>Set a new value</Menu.Item>
                  <Menu.Item component={Link} to={`/changes?subject=secret/${encodeURIComponent(secret.name)}`}>
                    Its changes
                  </Menu.Item>
                  <Menu.Divider />
                  <Menu.Item c="var(--bad)" onClick={() => setRemoving(secret)}>
                    Remove
                  </Menu.Item>
                </Menu.Dropdown>
              </Menu>
            ),
          } satisfies Column<Secret>,
        ]
      : []),
  ];

  return (
    <Page
      title="Secrets"
      about="Names and versions. Values go in and reach only the services that ask for them; nobody reads them here."
      actions={
        may && (
          <Button leftSection={<IconPlus size={16} />} onClick={() => setSetting({ name: null })}>
            Set a secret
          </Button>
        )
      }
    >
      {secrets.isPending && <ListSkeleton />}
      {secrets.error && !secrets.data && (
        <div className="card">
          <Failure problem={secrets.error} title="The secrets could not be read" retry={() => void secrets.refetch()} />
        </div>
      )}
      {secrets.data && (
        <List
          name="Secrets"
          rows={secrets.data}
          columns={columns}
          facets={facets}
          id={(secret) => secret.name}
          sort="name"
          noun={["secret", "secrets"]}
          empty={
            <Empty icon={IconKey} title="No secrets yet" command="stead secret set NAME">
              A service names the secrets it needs in its <span className="mono">stead.yaml</span>; their values are set here or from the terminal.
            </Empty>
          }
        />
      )}
      <Modal opened={setting !== null} onClose={() => setSetting(null)} title={setting?.name ? `Set ${setting.name}` : "Set a secret"} closeButtonProps={{ "aria-label": "Close" }}>
        {setting && <SetForm name={setting.name} secrets={secrets.data ?? []} close={() => setSetting(null)} />}
      </Modal>
      <Remove secret={removing} close={() => setRemoving(null)} />
    </Page>
  );
}

function SetForm({ name: fixed, secrets, close }: { name: string | null; secrets: Secret[]; close: () => void }) {
  const environment = useEnvironment();
  const [name, setName] = useState(fixed ?? "");
  const [value, setValue] = useState("");
  const known = secrets.find((secret) => secret.name === name.trim());
  const set = useChange(() => change.setSecret(environment, name.trim(), value), ["secrets"], () => {
    tell.done(`${name} is set`, known ? `It is now version ${known.version + 1}.` : undefined);
    close();
  });
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    set.mutate(undefined);
  };
  return (
    <form onSubmit={submit}>
      <Stack>
        <TextInput
          label="Name"
          value={name}
          onChange={(event) => setName(event.currentTarget.value)}
          readOnly={fixed !== null}
          required
          withAsterisk={false}
          autoComplete="off"
          spellCheck={false}
          data-autofocus={fixed === null || undefined}
        />
        <PasswordInput
          label="Value"
          description="It is sealed as it arrives and never shown again."
          value={value}
          onChange={(event) => setValue(event.currentTarget.value)}
          required
          withAsterisk={false}
          autoComplete="off"
          data-autofocus={fixed !== null || undefined}
        />
        <Text size="sm" c="dimmed">
          {known
            ? `Becomes version ${known.version + 1}. ${known.used_by.length > 0 ? `${known.used_by.join(", ")} get it with their next release or restart.` : ""}`
            : "A new secret. Services get it once their stead.yaml names it."}
        </Text>
        {set.error && <Failure problem={set.error} compact />}
        <Group justify="end">
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button type="submit" loading={set.isPending} disabled={!name.trim() || !value}>
            Set
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Remove({ secret, close }: { secret: Secret | null; close: () => void }) {
  const environment = useEnvironment();
  const remove = useChange((name: string) => change.removeSecret(environment, name), ["secrets"], (_, name) => {
    tell.done(`${name} is removed`);
    close();
  });
  return (
    <Confirm
      opened={secret !== null}
      close={() => {
        remove.reset();
        close();
      }}
      title={`Remove ${secret?.name ?? ""}`}
      effects={[
        `All ${secret?.version ?? 0} versions of ${secret?.name ?? ""} are erased.`,
        secret && secret.used_by.length > 0
          ? `${secret.used_by.join(", ")} would not start again without it: Stead refuses while they name it.`
          : "No service uses it now. A release that was pinned to it can no longer be run again.",
      ]}
      undo="It cannot be undone: the value is nowhere else in Stead."
      final
      dangerous
      action="Remove"
      pending={remove.isPending}
      problem={remove.error}
      act={() => secret && remove.mutate(secret.name)}
    />
  );
}
