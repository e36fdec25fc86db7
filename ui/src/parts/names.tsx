import { Anchor, Tooltip } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { Link } from "react-router";
import * as q from "../api/queries";
import { useEnvironment } from "../shell/environment";

/** The end of an id tells things apart that were made close together; its beginning is a time. */
const SHORT = 6;

export interface Named {
  label: string;
  /** Where it is shown. */
  page: string | null;
  /** What stands behind the label, for those who need it. */
  id: string;
}

export function shortId(id: string): string {
  return /^[a-z]+_[0-9a-f]{32}$/.test(id) ? id.slice(-SHORT) : id;
}

/** Who and what stands behind the ids of the ledger: people, tokens, services. */
export function useNames() {
  const environment = useEnvironment();
  const services = useQuery(q.services(environment)).data;
  const people = useQuery({ ...q.people, staleTime: 60_000 }).data;
  const tokens = useQuery({ ...q.tokens, staleTime: 60_000, retry: false }).data;

  return useMemo(() => {
    const things = new Map<string, Named>();
    for (const service of services ?? []) things.set(service.id, { label: service.name, page: `/services/${service.name}`, id: service.id });
    for (const person of people ?? []) things.set(person.id, { label: person.name, page: "/access", id: person.id });
    for (const token of tokens ?? []) things.set(token.id, { label: `token ${token.name}`, page: "/access/tokens", id: token.id });

    /** `user:ID`, `token:ID` or `system:PART`. */
    const actor = (text: string): Named => {
      const at = text.indexOf(":");
      const [kind, id] = [text.slice(0, at), text.slice(at + 1)];
      if (kind === "system") return { label: `Stead (${id})`, page: null, id: text };
      return { ...(things.get(id) ?? { label: kind === "token" ? `token ${shortId(id)}` : shortId(id), page: null }), id: text };
    };
    /** An entity id, or `plan/ID`, `service/NAME` and the like. */
    const subject = (text: string): Named => {
      const known = things.get(text);
      if (known) return known;
      const at = text.indexOf("/");
      if (text.startsWith("flow_")) return { label: `run ${shortId(text)}`, page: `/runs/${text}`, id: text };
      if (at < 0) return { label: shortId(text), page: null, id: text };
      const [kind, name] = [text.slice(0, at), text.slice(at + 1)];
      const pages: Record<string, string> = {
        service: `/services/${name}`,
        need: `/services/${name}`,
        plan: `/plans/${name}`,
        run: `/runs/${name}`,
        secret: `/secrets?q=${encodeURIComponent(name)}`,
      };
      return { label: `${kind} ${shortId(name)}`, page: pages[kind] ?? null, id: text };
    };
    /** What somebody types who looks for a subject or an actor, as the ledger spells it. */
    const subjectOf = (words: string): string => services?.find((service) => service.name === words.replace(/^(service|need)\//, ""))?.id ?? words;
    const actorOf = (words: string): string => {
      const person = people?.find((each) => each.name === words);
      const token = tokens?.find((each) => each.name === words.replace(/^token /, ""));
      return person ? `user:${person.id}` : token ? `token:${token.id}` : words;
    };
    return {
      actor,
      subject,
      subjectOf,
      actorOf,
      subjects: (services ?? []).map((service) => service.name),
      actors: [...(people ?? []).map((person) => person.name), ...(tokens ?? []).map((token) => `token ${token.name}`)],
    };
  }, [services, people, tokens]);
}

export function Actor({ of }: { of: string }) {
  const named = useNames().actor(of);
  return (
    <Tooltip label={named.id} disabled={named.label === named.id}>
      <span>{named.label}</span>
    </Tooltip>
  );
}

export function Subject({ of }: { of: string }) {
  const named = useNames().subject(of);
  return named.page ? (
    <Anchor component={Link} to={named.page} inherit title={named.id}>
      {named.label}
    </Anchor>
  ) : (
    <span title={named.id}>{named.label}</span>
  );
}
