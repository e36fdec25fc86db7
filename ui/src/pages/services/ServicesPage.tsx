import { Anchor, Text, Tooltip } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { IconExternalLink, IconLayoutList } from "@tabler/icons-react";
import { Link } from "react-router";
import type { Service } from "../../api/client";
import * as q from "../../api/queries";
import { Health, HEALTH } from "../../parts/Health";
import { KIND } from "../../parts/kind";
import { List, type Column, type Facet } from "../../parts/List";
import { Page } from "../../parts/Page";
import { Empty, Failure, ListSkeleton } from "../../parts/States";
import { Time } from "../../parts/Time";
import { useEnvironment } from "../../shell/environment";

const columns: Column<Service>[] = [
  {
    key: "name",
    title: "Name",
    value: (service) => service.name,
    render: (service) => (
      <>
        <Anchor component={Link} to={`/services/${service.name}`} inherit fw={600}>
          {service.name}
        </Anchor>
        {service.description && (
          <Text size="xs" c="dimmed" lineClamp={1}>
            {service.description}
          </Text>
        )}
      </>
    ),
  },
  {
    key: "health",
    title: "Health",
    value: (service) => HEALTH[service.health].rank,
    render: (service) => (
      <Tooltip label={service.reason} disabled={!service.reason} multiline maw={320}>
        <span>
          <Health health={service.health} />
        </span>
      </Tooltip>
    ),
  },
  { key: "kind", title: "Kind", value: (service) => KIND[service.kind].label, wideOnly: true },
  {
    key: "replicas",
    title: "Ready",
    align: "right",
    value: (service) => service.replicas_ready - service.replicas_wanted,
    render: (service) => (service.replicas_wanted === 0 && service.kind === "job" ? "–" : `${service.replicas_ready}/${service.replicas_wanted}`),
  },
  {
    key: "release",
    title: "Release",
    align: "right",
    wideOnly: true,
    value: (service) => service.release?.number,
    render: (service) =>
      service.release ? (
        <Anchor component={Link} to={`/services/${service.name}/releases`} inherit>
          {service.release.number}
        </Anchor>
      ) : (
        "–"
      ),
  },
  {
    key: "since",
    title: "Released",
    wideOnly: true,
    value: (service) => service.release?.created_at,
    render: (service) => (service.release ? <Time at={service.release.created_at} /> : "–"),
  },
  { key: "owner", title: "Owner", value: (service) => service.owner, wideOnly: true, nowrap: true },
  { key: "tier", title: "Tier", value: (service) => service.tier, wideOnly: true },
  {
    key: "url",
    title: "Address",
    value: (service) => service.url,
    wideOnly: true,
    nowrap: true,
    render: (service) =>
      service.url ? (
        <Anchor href={service.url} target="_blank" rel="noreferrer" inherit>
          {service.url.replace(/^https?:\/\//, "")} <IconExternalLink size={12} aria-label="opens in a new window" />
        </Anchor>
      ) : (
        <span className="dim">inside only</span>
      ),
  },
];

const facets: Facet<Service>[] = [
  { key: "state", label: "Health", value: (service) => HEALTH[service.health].label },
  { key: "kind", label: "Kind", value: (service) => KIND[service.kind].label },
  { key: "owner", label: "Owner", value: (service) => service.owner ?? "" },
];

export function ServicesPage() {
  const environment = useEnvironment();
  const services = useQuery(q.services(environment));
  return (
    <Page title="Services" about="All services, jobs and what they need">
      {services.isPending && <ListSkeleton />}
      {services.error && !services.data && (
        <div className="card">
          <Failure problem={services.error} title="The services could not be read" retry={() => void services.refetch()} />
        </div>
      )}
      {services.data && (
        <List
          name="Services"
          rows={services.data}
          columns={columns}
          facets={facets}
          id={(service) => service.id}
          sort="health"
          noun={["service", "services"]}
          empty={
            <Empty icon={IconLayoutList} title="No services yet" command="stead up PATH">
              Describe a service in a <span className="mono">stead.yaml</span> and deliver it from its folder. <span className="mono">stead init</span> writes a first one.
            </Empty>
          }
        />
      )}
    </Page>
  );
}
