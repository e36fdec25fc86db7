import { IconBolt, IconBox, IconClockPlay, IconDatabase, IconWorld, type Icon } from "@tabler/icons-react";
import type { Kind } from "../api/client";

export const KIND: Record<Kind, { label: string; icon: Icon }> = {
  service: { label: "Service", icon: IconBox },
  job: { label: "Job", icon: IconClockPlay },
  postgres: { label: "PostgreSQL", icon: IconDatabase },
  redis: { label: "Redis", icon: IconBolt },
};

export const INTERNET = "internet";

export function kindOf(kind: Kind | null | undefined): { label: string; icon: Icon } {
  return kind ? KIND[kind] : { label: "Clients outside", icon: IconWorld };
}
