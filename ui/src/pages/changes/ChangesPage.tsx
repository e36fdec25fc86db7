import { Button, SegmentedControl, Text, TextInput } from "@mantine/core";
import { useDebouncedValue, useIntersection } from "@mantine/hooks";
import { useInfiniteQuery } from "@tanstack/react-query";
import { IconHistory } from "@tabler/icons-react";
import { useEffect, useMemo, useState } from "react";
import { useSearchParams } from "react-router";
import { readEvents, type EventFilter } from "../../api/queries";
import { count } from "../../parts/figures";
import { Page } from "../../parts/Page";
import { Empty, Failure, ListSkeleton } from "../../parts/States";
import { useEnvironment } from "../../shell/environment";
import classes from "./Changes.module.css";
import { Entry } from "./Entry";
import { ExportLedger } from "./ExportLedger";
import { Verify } from "./Verify";

const FILTER_AFTER_MS = 300;
const FIELDS = ["subject", "kind", "actor"] as const;
const HINTS = { subject: "service/checkout", kind: "stead.release", actor: "person/ines" } as const;

/** The ledger: every change, who made it, why, and what caused it. */
export function ChangesPage() {
  const environment = useEnvironment();
  const [params, setParams] = useSearchParams();
  const open = params.get("open");
  const order = params.get("order") ?? "newest";
  const { words, setWord, filter } = useFilter(order === "newest");

  const events = useInfiniteQuery({
    queryKey: ["events", "all", environment, filter],
    queryFn: ({ pageParam }) => readEvents(environment, filter, pageParam),
    initialPageParam: undefined as string | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const items = useMemo(() => events.data?.pages.flatMap((page) => page.items) ?? [], [events.data]);
  const { ref, entry } = useIntersection({ rootMargin: "600px" });
  const { hasNextPage, isFetchingNextPage, fetchNextPage } = events;
  useEffect(() => {
    if (entry?.isIntersecting && hasNextPage && !isFetchingNextPage) void fetchNextPage();
  }, [entry, hasNextPage, isFetchingNextPage, fetchNextPage]);

  const toggle = (id: string) =>
    setParams((before) => (before.get("open") === id ? before.delete("open") : before.set("open", id), before), { replace: true, preventScrollReset: true });
  const filtered = FIELDS.some((field) => words[field] !== "");

  return (
    <Page title="Changes" about="Every change, who made it, why, and what it was caused by" actions={<Verify />}>
      <div className={classes.bar}>
        {FIELDS.map((field, at) => (
          <TextInput
            key={field}
            className={classes.field}
            aria-label={`Only where the ${field} begins with`}
            placeholder={`${field.charAt(0).toUpperCase()}${field.slice(1)}, e.g. ${HINTS[field]}`}
            value={words[field]}
            onChange={(event) => setWord(field, event.currentTarget.value)}
            {...(at === 0 ? { "data-page-search": true } : {})}
          />
        ))}
        <SegmentedControl
          size="xs"
          aria-label="Order"
          value={order}
          onChange={(next) => setParams((before) => (next === "newest" ? before.delete("order") : before.set("order", next), before), { replace: true })}
          data={[
            { value: "newest", label: "Newest first" },
            { value: "oldest", label: "Oldest first" },
          ]}
        />
        <ExportLedger items={items} environment={environment} filter={filter} />
      </div>
      {events.isPending && <ListSkeleton rows={10} />}
      {events.error && items.length === 0 && (
        <div className="card">
          <Failure problem={events.error} title="The ledger could not be read" retry={() => void events.refetch()} />
        </div>
      )}
      {events.data && items.length === 0 && (
        <div className="card">
          {filtered ? (
            <Empty icon={IconHistory} title="No change matches">
              The filters compare from the beginning: <span className="mono">service/</span> finds all services.
            </Empty>
          ) : (
            <Empty icon={IconHistory} title="Nothing has changed yet" command="stead up PATH">
              Each change will stand here with who made it and why.
            </Empty>
          )}
        </div>
      )}
      {items.length > 0 && (
        <ol className={`card ${classes.list}`} aria-label="Changes">
          {items.map((event) => (
            <Entry key={event.id} event={event} open={open === event.id} toggle={() => toggle(event.id)} known={items} />
          ))}
        </ol>
      )}
      {open && items.length > 0 && !items.some((event) => event.id === open) && <Elsewhere id={open} />}
      <div ref={ref} className={classes.end}>
        {hasNextPage ? (
          <Button variant="default" size="xs" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>
            More
          </Button>
        ) : (
          items.length > 0 && (
            <Text size="xs" c="dimmed" role="status">
              {count(items.length, "change")}, that is all
            </Text>
          )
        )}
      </div>
    </Page>
  );
}

/** The change that the address asks for is not among those read so far. */
function Elsewhere({ id }: { id: string }) {
  return (
    <Text size="sm" c="dimmed" mt="xs" role="status">
      The change {id} is further along: read on with More, or clear the filters.
    </Text>
  );
}

function useFilter(descending: boolean) {
  const [params, setParams] = useSearchParams();
  const [words, setWords] = useState(() => Object.fromEntries(FIELDS.map((field) => [field, params.get(field) ?? ""])) as Record<(typeof FIELDS)[number], string>);
  const [settled] = useDebouncedValue(words, FILTER_AFTER_MS);
  // A link within the page (a subject, an actor) changes the address under us.
  const given = FIELDS.map((field) => params.get(field) ?? "").join("\n");
  useEffect(() => {
    const values = given.split("\n");
    setWords((before) => (FIELDS.every((field, at) => before[field].trim() === values[at]) ? before : { subject: values[0] ?? "", kind: values[1] ?? "", actor: values[2] ?? "" }));
  }, [given]);
  useEffect(() => {
    setParams(
      (before) => {
        for (const field of FIELDS) {
          const word = settled[field].trim();
          if (word) before.set(field, word);
          else before.delete(field);
        }
        return before;
      },
      { replace: true, preventScrollReset: true },
    );
  }, [settled, setParams]);
  const filter = useMemo<EventFilter>(() => {
    const set = FIELDS.filter((field) => settled[field].trim() !== "").map((field) => [field, settled[field].trim()]);
    return { ...Object.fromEntries(set), descending };
  }, [settled, descending]);
  return { words, setWord: (field: (typeof FIELDS)[number], word: string) => setWords((before) => ({ ...before, [field]: word })), filter };
}

