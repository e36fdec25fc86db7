import {
  IconChartLine,
  IconChecklist,
  IconHistory,
  IconKey,
  IconLayoutList,
  IconTopologyStar3,
  IconUsersGroup,
  type Icon,
} from "@tabler/icons-react";

export interface PageEntry {
  path: string;
  title: string;
  icon: Icon;
  /** Second key after `g`. */
  key: string;
  about: string;
}

export const PAGES: PageEntry[] = [
  { path: "/", title: "Map", icon: IconTopologyStar3, key: "m", about: "Who calls whom, and how it goes" },
  { path: "/services", title: "Services", icon: IconLayoutList, key: "s", about: "All services, jobs and what they need" },
  { path: "/explore", title: "Explore", icon: IconChartLine, key: "e", about: "Ask the metrics, in PromQL" },
  { path: "/changes", title: "Changes", icon: IconHistory, key: "c", about: "The ledger: who changed what, and why" },
  { path: "/plans", title: "Plans", icon: IconChecklist, key: "p", about: "Review and apply what would change" },
  { path: "/secrets", title: "Secrets", icon: IconKey, key: "x", about: "Names and versions, never values" },
  { path: "/access", title: "Access", icon: IconUsersGroup, key: "a", about: "People and tokens" },
];
