import { useQuery } from "@tanstack/react-query";
import { createContext, useCallback, useContext } from "react";
import { useSearchParams } from "react-router";
import { api, take } from "../api/client";
import { useInfo } from "../api/queries";

const KEY = "stead-environment";
const FALLBACK = "default";

export const EnvironmentContext = createContext<string>(FALLBACK);

export const useEnvironment = (): string => useContext(EnvironmentContext);

interface Choice {
  /** None until it is known. */
  environment: string | null;
  all: string[];
  choose: (name: string) => void;
}

/**
 * The environment that is looked at: the address names it, else the last one, else the first that has
 * services, so that nobody's first sight is an empty `default` beside a full one.
 */
export function useChosenEnvironment(): Choice {
  const [params, setParams] = useSearchParams();
  const info = useInfo();
  const all = info.data?.environments ?? [];
  const named = params.get("environment");
  const wanted = [named, localStorage.getItem(KEY)].find((name) => name && all.includes(name));
  const lived = useQuery({
    queryKey: ["first-environment", all],
    queryFn: () => firstWithServices(all),
    enabled: !wanted && all.length > 1,
    staleTime: Number.POSITIVE_INFINITY,
  });
  const choose = useCallback(
    (name: string) => {
      localStorage.setItem(KEY, name);
      setParams((before) => {
        before.set("environment", name);
        return before;
      });
    },
    [setParams],
  );
  const waiting = info.isPending || (lived.isPending && lived.isLoading);
  return { environment: wanted ?? (waiting ? null : (lived.data ?? all[0] ?? FALLBACK)), all, choose };
}

async function firstWithServices(all: string[]): Promise<string> {
  for (const environment of all) {
    const found = await take(api.GET("/api/stead/v1/services", { params: { query: { environment } } }));
    if (found.length > 0) return environment;
  }
  return all[0] ?? FALLBACK;
}
