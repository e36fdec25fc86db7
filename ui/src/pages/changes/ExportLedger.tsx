import { ActionIcon, Menu } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { BASE, type Event } from "../../api/client";
import type { EventFilter } from "../../api/queries";
import { count } from "../../parts/figures";
import { saveCsv, saveJson } from "../../parts/save";

export function ExportLedger({ items, environment, filter }: { items: Event[]; environment: string; filter: EventFilter }) {
  const query = new URLSearchParams({ environment });
  for (const key of ["subject", "kind", "actor", "from", "to"] as const) if (filter[key]) query.set(key, filter[key]);
  return (
    <Menu width={230}>
      <Menu.Target>
        <ActionIcon variant="default" size={30} aria-label="Export the changes">
          <IconDownload size={16} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{count(items.length, "change")} read so far</Menu.Label>
        <Menu.Item
          disabled={items.length === 0}
          onClick={() =>
            saveCsv(
              "changes",
              ["seq", "at", "kind", "subject", "actor", "why", "id", "causation", "hash"],
              items.map((event) => [event.seq, event.at, event.kind, event.subject, event.actor, event.why, event.id, event.causation, event.hash]),
            )
          }
        >
          CSV
        </Menu.Item>
        <Menu.Item disabled={items.length === 0} onClick={() => saveJson("changes", items)}>
          JSON
        </Menu.Item>
        <Menu.Divider />
        <Menu.Label>All that match</Menu.Label>
        <Menu.Item component="a" href={`${BASE}/events/export?${query}`} download="stead-ledger.ndjson">
          NDJSON, one entry per line
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
