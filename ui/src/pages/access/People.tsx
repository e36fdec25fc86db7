import { ActionIcon, Button, Group, Menu, Modal, Radio, Stack, Text, TextInput } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { IconCircleCheckFilled, IconCircleOff, IconDots, IconUserPlus, IconUsersGroup } from "@tabler/icons-react";
import { useState, type SyntheticEvent } from "react";
import { Link } from "react-router";
import type { Person, Schemas } from "../../api/client";
import * as q from "../../api/queries";
import { change, useChange } from "../../api/queries";
import { Confirm } from "../../parts/Confirm";
import { Mark } from "../../parts/Health";
import { List, type Column, type Facet } from "../../parts/List";
import { Empty, Failure, ListSkeleton } from "../../parts/States";
import { ago, Time } from "../../parts/Time";
import { tell } from "../../parts/tell";
import { useMay } from "../../shell/may";
import { Once } from "./Once";

type Role = Schemas["Role"];

const ROLES: { value: Role; label: string; about: string }[] = [
  { value: "viewer", label: "Viewer", about: "Sees everything but the values of secrets, changes nothing" },
  { value: "operator", label: "Operator", about: "Plans, applies, restarts, scales, sets secrets" },
  { value: "admin", label: "Admin", about: "All of that, and people and tokens" },
];

const facets: Facet<Person>[] = [{ key: "role", label: "Role", value: (person) => person.role, side: ["viewer", "operator", "admin"] }];

export function People() {
  const admin = useMay("admin");
  const me = q.useSession().data?.person?.id;
  const people = useQuery(q.people);
  const [inviting, invite] = useDisclosure(false);
  const [link, setLink] = useState<Schemas["SignInLink"] | null>(null);
  const [changing, setChanging] = useState<Person | null>(null);
  const [closing, setClosing] = useState<Person | null>(null);
  const renew = useChange((person: Person) => change.newLink(person.id), ["people"], setLink);

  const columns: Column<Person>[] = [
    {
      key: "name",
      title: "Name",
      value: (person) => person.name,
      render: (person) => (
        <>
          <b>{person.name}</b>
          {person.id === me && <span className="dim"> (you)</span>}
        </>
      ),
    },
    { key: "role", title: "Role", value: (person) => person.role },
    {
      key: "state",
      title: "State",
      value: (person) => (person.active ? "active" : "closed"),
      render: (person) =>
        person.active ? <Mark plain tone="good" icon={IconCircleCheckFilled} label="Active" /> : <Mark plain tone="idle" icon={IconCircleOff} label="Deactivated" />,
    },
    { key: "password", title: "Comes in by", wideOnly: true, value: (person) => (person.password ? "password" : "link only") },
    {
      key: "seen",
      title: "Last seen",
      value: (person) => person.last_seen_at,
      render: (person) => (person.last_seen_at ? <Time at={person.last_seen_at} /> : <span className="dim">never</span>),
    },
    { key: "created", title: "Since", wideOnly: true, value: (person) => person.created_at, render: (person) => <Time at={person.created_at} /> },
    ...(admin
      ? [
          {
            key: "act",
            title: "Actions",
            hiddenTitle: true,
            sortable: false,
            align: "right",
            value: () => null,
            render: (person) => (
              <Menu>
                <Menu.Target>
                  <ActionIcon aria-label={`Actions for ${person.name}`}>
                    <IconDots size={17} />
                  </ActionIcon>
                </Menu.Target>
                <Menu.Dropdown>
                  <Menu.Item disabled={!person.active} onClick={() => renew.mutate(person, { onError: tell.failed("No link was made") })}>
                    New sign-in link
                  </Menu.Item>
                  <Menu.Item onClick={() => setChanging(person)}>Change role</Menu.Item>
                  <Menu.Item component={Link} to={`/changes?actor=${encodeURIComponent(person.name)}`}>
                    What they changed
                  </Menu.Item>
                  <Menu.Divider />
                  <Menu.Item c={person.active ? "var(--bad)" : undefined} disabled={person.id === me} onClick={() => setClosing(person)}>
                    {person.active ? "Deactivate" : "Activate again"}
                  </Menu.Item>
                </Menu.Dropdown>
              </Menu>
            ),
          } satisfies Column<Person>,
        ]
      : []),
  ];

  if (people.isPending) return <ListSkeleton />;
  if (people.error && !people.data) {
    return (
      <div className="card">
        <Failure problem={people.error} title="The people could not be read" retry={() => void people.refetch()} />
      </div>
    );
  }
  return (
    <>
      <List
        name="People"
        rows={people.data}
        columns={columns}
        facets={facets}
        id={(person) => person.id}
        sort="name"
        noun={["person", "people"]}
        action={
          admin && (
            <Button leftSection={<IconUserPlus size={16} />} onClick={invite.open}>
              Invite
            </Button>
          )
        }
        faded={(person) => !person.active}
        empty={<Empty icon={IconUsersGroup} title="Nobody yet" />}
      />
      <Modal opened={inviting} onClose={invite.close} title="Invite somebody" closeButtonProps={{ "aria-label": "Close" }}>
        <InviteForm
          close={invite.close}
          done={(made) => {
            invite.close();
            setLink(made);
          }}
        />
      </Modal>
      <Once title={`A sign-in link for ${link?.person.name ?? ""}`} value={link?.url ?? null} label="Sign-in link" close={() => setLink(null)}>
        Give this to {link?.person.name}. It signs in once, and runs out {link && ago(link.expires_at, Date.now())}.
      </Once>
      <Modal opened={changing !== null} onClose={() => setChanging(null)} title={`Role of ${changing?.name ?? ""}`} closeButtonProps={{ "aria-label": "Close" }}>
        {changing && <RoleForm person={changing} close={() => setChanging(null)} />}
      </Modal>
      <Deactivate person={closing} close={() => setClosing(null)} />
    </>
  );
}

function RoleChoice({ role, choose }: { role: Role; choose: (role: Role) => void }) {
  return (
    <Radio.Group label="Role" value={role} onChange={(next) => choose(next as Role)}>
      <Stack gap="xs" mt={6}>
        {ROLES.map((each) => (
          <Radio key={each.value} value={each.value} label={each.label} description={each.about} />
        ))}
      </Stack>
    </Radio.Group>
  );
}

function InviteForm({ close, done }: { close: () => void; done: (link: Schemas["SignInLink"]) => void }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("operator");
  const invite = useChange(change.invite, ["people"], done);
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    invite.mutate({ name: name.trim(), role });
  };
  return (
    <form onSubmit={submit}>
      <Stack>
        <TextInput label="Name" value={name} onChange={(event) => setName(event.currentTarget.value)} required withAsterisk={false} autoComplete="off" data-autofocus />
        <RoleChoice role={role} choose={setRole} />
        {invite.error && <Failure problem={invite.error} compact />}
        <Group justify="end">
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button type="submit" loading={invite.isPending} disabled={!name.trim()}>
            Make a sign-in link
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function RoleForm({ person, close }: { person: Person; close: () => void }) {
  const [role, setRole] = useState<Role>(person.role);
  const set = useChange((next: Role) => change.changePerson(person.id, { role: next }), ["people", "session"], () => {
    tell.done(`${person.name} is ${role} now`);
    close();
  });
  const submit = (event: SyntheticEvent) => {
    event.preventDefault();
    set.mutate(role);
  };
  return (
    <form onSubmit={submit}>
      <Stack>
        <RoleChoice role={role} choose={setRole} />
        <Text size="sm" c="dimmed">
          It holds from their next request on.
        </Text>
        {set.error && <Failure problem={set.error} compact />}
        <Group justify="end">
          <Button variant="default" onClick={close}>
            Cancel
          </Button>
          <Button type="submit" loading={set.isPending} disabled={role === person.role}>
            Change role
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Deactivate({ person, close }: { person: Person | null; close: () => void }) {
  const active = person?.active ?? true;
  const set = useChange((id: string) => change.changePerson(id, { active: !active }), ["people"], () => {
    tell.done(`${person?.name} is ${active ? "deactivated" : "active again"}`);
    close();
  });
  return (
    <Confirm
      opened={person !== null}
      close={() => {
        set.reset();
        close();
      }}
      title={`${active ? "Deactivate" : "Activate"} ${person?.name ?? ""}`}
      effects={
        active
          ? ["Their sessions end at once, and they can no longer sign in.", "Open sign-in links of theirs stop working.", "What they did stays on the ledger under their name."]
          : ["They can sign in again, with the role they had."]
      }
      undo={active ? "Undone by activating them again." : "Undone by deactivating them again."}
      action={active ? "Deactivate" : "Activate again"}
      dangerous={active}
      pending={set.isPending}
      problem={set.error}
      act={() => person && set.mutate(person.id)}
    />
  );
}
