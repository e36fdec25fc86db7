import { ActionIcon, Button, Group, Menu, Pagination, SegmentedControl, Select, Table, Text, TextInput, UnstyledButton } from "@mantine/core";
import { IconArrowDown, IconArrowsSort, IconArrowUp, IconDownload, IconFilterOff, IconSearch, IconX } from "@tabler/icons-react";
import { useMemo, useState, type ReactNode } from "react";
import { useSearchParams } from "react-router";
import { useEcho } from "./echo";
import { count } from "./figures";
import classes from "./List.module.css";
import { saveCsv, saveJson } from "./save";

const ROWS_PER_PAGE = 50;

export interface Column<Row> {
  key: string;
  title: string;
  /** What it sorts by and what is exported. */
  value: (row: Row) => string | number | boolean | null | undefined;
  render?: (row: Row) => ReactNode;
  align?: "left" | "right";
  width?: string | number;
  /** Left out in a narrow window. */
  wideOnly?: boolean;
  nowrap?: boolean;
  /** The title is only for those who do not see the column's sign. */
  hiddenTitle?: boolean;
  sortable?: boolean;
}

export interface Facet<Row> {
  key: string;
  label: string;
  value: (row: Row) => string;
  /** Few and short values stand side by side. */
  side?: string[];
}

interface Props<Row> {
  /** Names the list to those who do not see it, and the exported file. */
  name: string;
  rows: Row[];
  columns: Column<Row>[];
  id: (row: Row) => string;
  facets?: Facet<Row>[];
  sort: string;
  noun: [string, string];
  empty: ReactNode;
  /** Sets its words in the address apart from those of another list on the same page. */
  scope?: string;
  /** Stands at the end of the bar, such as what makes a new row. */
  action?: ReactNode;
  /** Set apart, such as what is no longer active. */
  faded?: (row: Row) => boolean;
}

/** A list that filters, sorts, pages and exports; all of that stands in the address. */
export function List<Row>(props: Props<Row>) {
  const { rows, columns, facets = [] } = props;
  const [params, setParams] = useSearchParams();
  const scope = props.scope ? `${props.scope}.` : "";
  const read = (key: string) => params.get(scope + key);
  const given = read("q") ?? "";
  const [words, setWords] = useState(given);
  const wrote = useEcho(given, setWords);
  const sort = read("sort") ?? props.sort;
  const page = Math.max(1, Number(read("page") ?? 1) || 1);

  const put = (changes: Record<string, string | null>) =>
    setParams(
      (before) => {
        for (const [key, value] of Object.entries(changes)) {
          if (value) before.set(scope + key, value);
          else before.delete(scope + key);
        }
        if (!("page" in changes)) before.delete(`${scope}page`);
        return before;
      },
      { replace: true, preventScrollReset: true },
    );

  const search = (next: string) => {
    setWords(next);
    wrote(next);
    put({ q: next || null });
  };

  const found = useMemo(() => {
    const needles = words.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = rows.filter((row) => {
      for (const facet of facets) {
        const wanted = params.get(scope + facet.key);
        if (wanted && facet.value(row) !== wanted) return false;
      }
      if (needles.length === 0) return true;
      const text = columns.map((column) => String(column.value(row) ?? "")).join(" ").toLowerCase();
      return needles.every((needle) => text.includes(needle));
    });
    const down = sort.startsWith("-");
    const column = columns.find((each) => each.key === sort.replace(/^-/, ""));
    if (!column) return matching;
    return matching.sort((a, b) => (down ? -1 : 1) * compare(column.value(a), column.value(b)));
  }, [rows, columns, facets, words, sort, params, scope]);

  if (rows.length === 0) {
    return (
      <>
        {props.action && <Group justify="end" mb="sm">{props.action}</Group>}
        <div className="card">{props.empty}</div>
      </>
    );
  }

  const pages = Math.max(1, Math.ceil(found.length / ROWS_PER_PAGE));
  const at = Math.min(page, pages);
  const shown = found.slice((at - 1) * ROWS_PER_PAGE, at * ROWS_PER_PAGE);
  const filtered = words !== "" || facets.some((facet) => read(facet.key));
  const clear = () => {
    setWords("");
    wrote("");
    put(Object.fromEntries([["q", null], ...facets.map((facet) => [facet.key, null])]));
  };

  return (
    <section aria-label={props.name}>
      <Group className={classes.bar} gap="xs">
        <TextInput
          className={classes.search}
          data-page-search
          aria-label={`Search ${props.name.toLowerCase()}`}
          placeholder={`Search ${props.name.toLowerCase()}`}
          leftSection={<IconSearch size={15} aria-hidden />}
          rightSection={
            words ? (
              <ActionIcon size="sm" aria-label="Clear the search" onClick={() => search("")}>
                <IconX size={14} />
              </ActionIcon>
            ) : null
          }
          value={words}
          onChange={(event) => search(event.currentTarget.value)}
        />
        {facets.map((facet) => (
          <FacetChoice key={facet.key} facet={facet} rows={rows} value={read(facet.key)} choose={(value) => put({ [facet.key]: value })} />
        ))}
        <Text size="sm" c="dimmed" className={classes.count} role="status">
          {found.length === rows.length ? count(rows.length, ...props.noun) : `${found.length} of ${count(rows.length, ...props.noun)}`}
        </Text>
        <Export name={props.name} rows={found} columns={columns} />
        {props.action}
      </Group>
      <div className={`card ${classes.scroll}`} tabIndex={0} role="region" aria-label={`${props.name}, table`}>
        <Table highlightOnHover className={classes.table ?? ""}>
          <Table.Thead>
            <Table.Tr>
              {columns.map((column) => (
                <Head key={column.key} column={column} sort={sort} choose={(next) => put({ sort: next === props.sort ? null : next })} />
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {shown.map((row) => (
              <Table.Tr key={props.id(row)} data-faded={props.faded?.(row) || undefined}>
                {columns.map((column) => (
                  <Table.Td key={column.key} data-align={column.align} data-nowrap={column.nowrap || undefined} visibleFrom={column.wideOnly ? "md" : undefined} className={column.align === "right" ? "num" : undefined}>
                    {column.render ? column.render(row) : (column.value(row) ?? "–")}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
        {shown.length === 0 && filtered && (
          <div className={classes.nothing}>
            <Text c="dimmed">Nothing matches.</Text>
            <Button variant="default" size="xs" leftSection={<IconFilterOff size={15} />} onClick={clear}>
              Clear the filters
            </Button>
          </div>
        )}
      </div>
      {pages > 1 && (
        <Group justify="center" mt="md">
          <Pagination
            total={pages}
            value={at}
            onChange={(next) => put({ page: next === 1 ? null : String(next) })}
            getControlProps={(control) => ({ "aria-label": `${control} page` })}
            getItemProps={(item) => ({ "aria-label": `Page ${item}` })}
          />
        </Group>
      )}
    </section>
  );
}

function Head<Row>({ column, sort, choose }: { column: Column<Row>; sort: string; choose: (sort: string) => void }) {
  const active = sort.replace(/^-/, "") === column.key;
  const down = sort.startsWith("-");
  const Arrow = active ? (down ? IconArrowDown : IconArrowUp) : IconArrowsSort;
  const title = column.hiddenTitle ? <span className="sr">{column.title}</span> : column.title;
  return (
    <Table.Th
      scope="col"
      w={column.width}
      data-align={column.align}
      aria-sort={active ? (down ? "descending" : "ascending") : undefined}
      visibleFrom={column.wideOnly ? "md" : undefined}
    >
      {column.sortable === false ? (
        title
      ) : (
        <UnstyledButton className={classes.sort} data-active={active || undefined} onClick={() => choose(active && !down ? `-${column.key}` : column.key)}>
          {title}
          <Arrow size={13} aria-hidden />
        </UnstyledButton>
      )}
    </Table.Th>
  );
}

function FacetChoice<Row>(props: { facet: Facet<Row>; rows: Row[]; value: string | null; choose: (value: string | null) => void }) {
  const { facet, rows, value, choose } = props;
  if (facet.side) {
    return (
      <SegmentedControl
        size="xs"
        aria-label={facet.label}
        data={[{ value: "", label: "All" }, ...facet.side.map((each) => ({ value: each, label: each }))]}
        value={value ?? ""}
        onChange={(next) => choose(next || null)}
      />
    );
  }
  const values = [...new Set(rows.map(facet.value))].filter(Boolean).sort();
  if (values.length < 2 && !value) return null;
  return <Select aria-label={facet.label} placeholder={facet.label} data={values} value={value} onChange={choose} clearable searchable={values.length > 8} w={150} />;
}

export function Export<Row>({ name, rows, columns }: { name: string; rows: Row[]; columns: Column<Row>[] }) {
  return (
    <Menu>
      <Menu.Target>
        <ActionIcon variant="default" size={30} aria-label={`Export ${name}`} disabled={rows.length === 0}>
          <IconDownload size={16} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{count(rows.length, "row")} as shown</Menu.Label>
        <Menu.Item
          onClick={() =>
            saveCsv(
              name,
              columns.map((column) => column.title),
              rows.map((row) => columns.map((column) => column.value(row))),
            )
          }
        >
          CSV
        </Menu.Item>
        <Menu.Item onClick={() => saveJson(name, rows)}>JSON</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

type Value = string | number | boolean | null | undefined;

function compare(a: Value, b: Value): number {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1;
  if (b === null || b === undefined) return -1;
  if (typeof a === "string" && typeof b === "string") return a.localeCompare(b, undefined, { numeric: true });
  return a < b ? -1 : 1;
}
