import { Autocomplete, Button, SegmentedControl, Text } from "@mantine/core";
import { useIntersection } from "@mantine/hooks";
import { useInfiniteQuery } from "@tanstack/react-query";
import { IconHistory } from "@tabler/icons-react";
import { useEffect, useMemo } from "react";
import { useSearchParams } from "react-router";
import { readEvents } from "../../api/queries";
import { count } from "../../parts/figures";
import { Page } from "../../parts/Page";
import { Empty, Failure, ListSkeleton } from "../../parts/States";
import { useEnvironment } from "../../shell/environment";
import classes from "./Changes.module.css";
import { Entry } from "./Entry";
import { ExportLedger } from "./ExportLedger";
import { Times, useTimes } from "./Times";
import { FIELDS, useFilter } from "./useFilter";
import { Verify } from "./Verify";

const LABELS = { subject: "Of what", kind: "Kind", actor: "By whom" } as const;

/** The ledger: every change, who made it, why, and what caused it. */
export function ChangesPage() {
  const environment = useEnvironment();
  const [params, setParams] = useSearchParams();
  const open = params.get("open");
  const order = params.get("order") ?? "newest";
  const { words, setWord, filter: asked, choices } = useFilter(order === "newest");
  const times = useTimes();
  const filter = useMemo(() => ({ ...asked, ...times }), [asked, times]);

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
  const filtered = FIELDS.some((field) => words[field] !== "") || times.from !== undefined || times.to !== undefined;

  return (
    <Page title="Changes" about="Every change, who made it, why, and what it was caused by" actions={<Verify />}>
      <div className={classes.bar}>
        {FIELDS.map((field, at) => (
          <Autocomplete
            key={field}
            className={classes.field}
            aria-label={LABELS[field]}
            placeholder={LABELS[field]}
            data={choices[field]}
            limit={12}
            value={words[field]}
            onChange={(word) => setWord(field, word)}
            clearable
            {...(at === 0 ? { "data-page-search": true } : {})}
          />
        ))}
        <Times />
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
              Kinds are compared from their beginning, the rest as a whole: a name of a service or a person, or an id.
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
