import type { Schemas } from "../api/client";
import { useSession } from "../api/queries";

const RANK: Record<Schemas["Role"], number> = { viewer: 0, operator: 1, admin: 2 };

/** Whether the one who looks has at least this role. The server decides anyway; this hides what it would refuse. */
export function useMay(role: Schemas["Role"]): boolean {
  const session = useSession().data;
  return session !== undefined && outranks(session.role, role);
}

/** Whether the first role is the second or more. */
export const outranks = (one: Schemas["Role"], other: Schemas["Role"]): boolean => RANK[one] >= RANK[other];
