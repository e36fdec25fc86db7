import { Anchor, Group, Skeleton, Stack, Tabs, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { IconBoxOff, IconExternalLink } from "@tabler/icons-react";
import { lazy, Suspense, type ReactNode } from "react";
import { Link, useNavigate, useParams } from "react-router";
import { ApiProblem, type ServiceDetail } from "../../api/client";
import * as q from "../../api/queries";
import { Health } from "../../parts/Health";
import { KIND } from "../../parts/kind";
import { Page } from "../../parts/Page";
import { Empty, Failure } from "../../parts/States";
import { Time } from "../../parts/Time";
import { useEnvironment } from "../../shell/environment";
import { Actions } from "./actions";
import classes from "./Service.module.css";

const Overview = lazy(async () => ({ default: (await import("./Overview")).Overview }));
const Logs = lazy(async () => ({ default: (await import("./Logs")).Logs }));
const Configuration = lazy(async () => ({ default: (await import("./Configuration")).Configuration }));
const Releases = lazy(async () => ({ default: (await import("./Releases")).Releases }));
const Exec = lazy(async () => ({ default: (await import("./Exec")).Exec }));

const TABS = ["overview", "logs", "configuration", "releases", "command"] as const;
type Tab = (typeof TABS)[number];
const TITLES: Record<Tab, string> = { overview: "Overview", logs: "Logs", configuration: "Configuration", releases: "Releases", command: "Command" };

export function ServicePage() {
  const environment = useEnvironment();
  const navigate = useNavigate();
  const { name = "", tab: wanted } = useParams();
  const tab: Tab = TABS.find((each) => each === wanted) ?? "overview";
  const service = useQuery(q.service(environment, name));
  const found = service.data;

  if (service.error instanceof ApiProblem && service.error.status === 404) {
    return (
      <Page title={name}>
        <div className="card">
          <Empty icon={IconBoxOff} title={`There is no ${name} in ${environment}`} action={<Anchor component={Link} to="/services">See all services</Anchor>}>
            It may have been removed; the <Anchor component={Link} to={`/changes?subject=${name}`}>ledger</Anchor> knows.
          </Empty>
        </div>
      </Page>
    );
  }
  if (service.error && !found) {
    return (
      <Page title={name}>
        <div className="card">
          <Failure problem={service.error} retry={() => void service.refetch()} />
        </div>
      </Page>
    );
  }
  return (
    <Page title={tab === "overview" ? name : `${name}: ${TITLES[tab].toLowerCase()}`} heading={<Heading name={name} service={found} />} about={found && <About service={found} />} actions={found && <Actions service={found} />}>
      {found?.reason && <Reason service={found}>{found.reason}</Reason>}
      <Tabs value={tab} onChange={(next) => void navigate(next === "overview" ? `/services/${name}` : `/services/${name}/${next}`, { preventScrollReset: true })} activateTabWithKeyboard={false}>
        <Tabs.List mb="md">
          {TABS.map((each) => (
            <Tabs.Tab key={each} value={each}>
              {TITLES[each]}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value={tab}>
          <Suspense fallback={<Waiting />}>
            {!found && <Waiting />}
            {found && tab === "overview" && <Overview service={found} />}
            {found && tab === "logs" && <Logs service={found} />}
            {found && tab === "configuration" && <Configuration service={found} />}
            {found && tab === "releases" && <Releases service={found} />}
            {found && tab === "command" && <Exec service={found} />}
          </Suspense>
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function Heading({ name, service }: { name: string; service: ServiceDetail | undefined }) {
  return (
    <Group gap="sm" component="span" wrap="wrap">
      <span className="break">{name}</span>
      {service && <Health health={service.health} />}
    </Group>
  );
}

function About({ service }: { service: ServiceDetail }) {
  return (
    <>
      {service.description && <Text size="sm">{service.description}</Text>}
      <div className={classes.facts}>
        <span>{KIND[service.kind].label}</span>
        {service.belongs_to && (
          <span>
            of <Anchor component={Link} to={`/services/${service.belongs_to}`} inherit>{service.belongs_to}</Anchor>
          </span>
        )}
        <span>tier {service.tier}</span>
        {service.owner && <span>{service.owner}</span>}
        {service.release && (
          <span>
            release {service.release.number}, <Time at={service.release.created_at} />
          </span>
        )}
        {service.url && (
          <Anchor href={service.url} target="_blank" rel="noreferrer" inherit>
            {service.url} <IconExternalLink size={13} aria-label="opens in a new window" />
          </Anchor>
        )}
      </div>
    </>
  );
}

function Reason({ service, children }: { service: ServiceDetail; children: ReactNode }) {
  return (
    <div className={classes.reason} data-health={service.health} role="status">
      {children}
    </div>
  );
}

export function Waiting() {
  return (
    <Stack gap="md" aria-busy="true" aria-label="Reading">
      <Group grow>
        <Skeleton h={220} />
        <Skeleton h={220} visibleFrom="sm" />
        <Skeleton h={220} visibleFrom="md" />
      </Group>
      <Skeleton h={160} />
    </Stack>
  );
}
