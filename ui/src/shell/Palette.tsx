import { useMantineColorScheme } from "@mantine/core";
import { createSpotlight, Spotlight, type SpotlightActionGroupData } from "@mantine/spotlight";
import { useQuery } from "@tanstack/react-query";
import { IconLogout, IconMoon, IconSearch, IconSun } from "@tabler/icons-react";
import { useMemo } from "react";
import { useNavigate } from "react-router";
import * as q from "../api/queries";
import { HealthSign } from "../parts/Health";
import { useSignOut } from "./account";
import { PAGES } from "./pages";

const [store, spotlight] = createSpotlight();

export const openPalette = (): void => spotlight.open();

/** Ctrl+K: pages, services and a few actions by name. */
export function Palette({ environment }: { environment: string }) {
  const navigate = useNavigate();
  const signOut = useSignOut();
  const { setColorScheme } = useMantineColorScheme();
  const services = useQuery(q.services(environment)).data;

  const actions = useMemo<SpotlightActionGroupData[]>(
    () => [
      {
        group: "Pages",
        actions: PAGES.map((page) => ({
          id: page.path,
          label: page.title,
          description: page.about,
          leftSection: <page.icon size={18} stroke={1.7} />,
          onClick: () => void navigate(page.path),
        })),
      },
      {
        group: "Services",
        actions: (services ?? []).flatMap((service) => [
          {
            id: `service-${service.name}`,
            label: service.name,
            description: service.description ?? service.kind,
            keywords: [service.kind, service.owner ?? ""],
            leftSection: <HealthSign health={service.health} size={18} />,
            onClick: () => void navigate(`/services/${service.name}`),
          },
          {
            id: `logs-${service.name}`,
            label: `${service.name}: logs`,
            description: "Follow what it writes",
            leftSection: <HealthSign health={service.health} size={18} />,
            onClick: () => void navigate(`/services/${service.name}/logs`),
          },
        ]),
      },
      {
        group: "Actions",
        actions: [
          { id: "light", label: "Light appearance", leftSection: <IconSun size={18} />, onClick: () => setColorScheme("light") },
          { id: "dark", label: "Dark appearance", leftSection: <IconMoon size={18} />, onClick: () => setColorScheme("dark") },
          { id: "out", label: "Sign out", leftSection: <IconLogout size={18} />, onClick: () => signOut.mutate() },
        ],
      },
    ],
    [services, navigate, setColorScheme, signOut],
  );

  return (
    <Spotlight
      store={store}
      actions={actions}
      shortcut={["mod + K"]}
      nothingFound="Nothing of that name"
      highlightQuery
      limit={12}
      scrollable
      maxHeight={420}
      searchProps={{ leftSection: <IconSearch size={18} />, placeholder: "A page, a service, an action…", "aria-label": "Find or do" }}
    />
  );
}
