import { useDebouncedValue } from "@mantine/hooks";
import { useEffect, useMemo, useRef, useState } from "react";
import { useSearchParams } from "react-router";
import type { EventFilter } from "../../api/queries";
import { useEcho } from "../../parts/echo";
import { useNames } from "../../parts/names";
import { kindOf } from "./words";

const FILTER_AFTER_MS = 300;
export const FIELDS = ["subject", "kind", "actor"] as const;
export type Field = (typeof FIELDS)[number];

/** What is typed, what stands in the address, and what the ledger is asked for: names become ids on the way. */
export function useFilter(descending: boolean) {
  const [params, setParams] = useSearchParams();
  const names = useNames();
  const given = FIELDS.map((field) => params.get(field) ?? "").join("\n");
  const [words, setWords] = useState(() => split(given));
  const [settled] = useDebouncedValue(words, FILTER_AFTER_MS);

  const last = useRef(given);
  // A link within the page (a subject, an actor) changes the address under us.
  const wrote = useEcho(given, (address) => {
    last.current = address;
    setWords(split(address));
  });
  useEffect(() => {
    if (join(settled) === last.current) return;
    last.current = join(settled);
    wrote(last.current);
    setParams(
      (before) => {
        for (const field of FIELDS) {
          if (settled[field].trim()) before.set(field, settled[field].trim());
          else before.delete(field);
        }
        return before;
      },
      { replace: true, preventScrollReset: true },
    );
  }, [settled, setParams, wrote]);

  const [subject, kind, actor] = given.split("\n") as [string, string, string];
  const filter = useMemo<EventFilter>(
    () => ({
      ...(subject ? { subject: names.subjectOf(subject) } : {}),
      ...(kind ? { kind: kindOf(kind) } : {}),
      ...(actor ? { actor: names.actorOf(actor) } : {}),
      descending,
    }),
    [subject, kind, actor, names, descending],
  );
  const choices: Record<Field, string[]> = { subject: names.subjects, kind: KINDS, actor: names.actors };
  return { words, filter, choices, setWord: (field: Field, word: string) => setWords((before) => ({ ...before, [field]: word })) };
}

const KINDS = ["release", "service", "replica", "plan", "need", "job", "secret", "person", "token", "session"];

const split = (text: string): Record<Field, string> => {
  const [subject = "", kind = "", actor = ""] = text.split("\n");
  return { subject, kind, actor };
};
const join = (words: Record<Field, string>): string => FIELDS.map((field) => words[field].trim()).join("\n");
