import { createContext, useCallback, useContext } from "react";
import { useSearchParams } from "react-router";
import { useInfo } from "../api/queries";

const KEY = "stead-environment";
const FALLBACK = "default";

export const EnvironmentContext = createContext<string>(FALLBACK);

export const useEnvironment = (): string => useContext(EnvironmentContext);

/** The environment that is looked at: the address names it, else the last one, else the first. */
export function useChosenEnvironment(): { environment: string; all: string[]; choose: (name: string) => void } {
  const [params, setParams] = useSearchParams();
  const all = useInfo().data?.environments ?? [];
  const wanted = params.get("environment") ?? localStorage.getItem(KEY);
  const environment = wanted && (all.length === 0 || all.includes(wanted)) ? wanted : (all[0] ?? FALLBACK);
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
  return { environment, all, choose };
}
