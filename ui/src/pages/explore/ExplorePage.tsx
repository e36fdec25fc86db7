import { ActionIcon, Button, Group, Menu, SegmentedControl, Select, Switch, Tabs, TextInput, Tooltip } from "@mantine/core";
import { IconChevronLeft, IconChevronRight, IconLink, IconPlayerPlay, IconPlus, IconTrash, IconWand, IconZoomOut } from "@tabler/icons-react";
import { useRef, useState } from "react";
import { useNavigate, useParams } from "react-router";
import { ask } from "../../api/prometheus";
import { Page } from "../../parts/Page";
import { tell } from "../../parts/tell";
import { Cardinality } from "./Cardinality";
import { Editor } from "./Editor";
import { Examples } from "./Examples";
import classes from "./Explore.module.css";
import { Answer } from "./Answer";
import { secondsOf } from "./series";
import { EXPRESSIONS_MAX, SPANS, useExplore, type View } from "./useExplore";

const COMPARES = [
  { value: "1h", label: "an hour before" },
  { value: "1d", label: "a day before" },
  { value: "7d", label: "a week before" },
];

/** Ask the metrics in PromQL: a graph to zoom into, a table, and what makes the number of series. */
export function ExplorePage() {
  const tab = useParams().tab === "cardinality" ? "cardinality" : "query";
  const go = useNavigate();
  return (
    <Page title="Explore" about="Ask the metrics of services, replicas, gateway and host in PromQL">
      <Tabs value={tab} onChange={(to) => go(to === "cardinality" ? "/explore/cardinality" : "/explore")}>
        <Tabs.List mb="md">
          <Tabs.Tab value="query">Query</Tabs.Tab>
          <Tabs.Tab value="cardinality">Cardinality</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="query">
          <Query />
        </Tabs.Panel>
        <Tabs.Panel value="cardinality">
          <Cardinality />
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function Query() {
  const explore = useExplore();
  const { expressions, setExpressions } = explore;
  // What is typed and not yet asked.
  const drafts = useRef<string[]>([]);
  const [asked, setAsked] = useState(0);

  const run = (at: number, expression: string) => {
    const next = expressions.map((each, index) => (index === at ? expression : (drafts.current[index] ?? each).trim()));
    drafts.current = [];
    if (next.join("\n") !== expressions.join("\n")) setExpressions(next);
    setAsked((times) => times + 1);
  };
  const remove = (at: number) => {
    drafts.current = [];
    setExpressions(expressions.filter((_, index) => index !== at));
  };
  const format = async (at: number) => {
    try {
      const { data } = await ask<string>("/format_query", { query: drafts.current[at] ?? expressions[at] ?? "" });
      run(at, data);
    } catch (problem) {
      tell.failed("The expression could not be formatted")(problem);
    }
  };
  const isEmpty = expressions.every((each) => each === "");

  return (
    <>
      <div className={classes.controls}>
        <Span explore={explore} />
        <StepInput value={explore.fixedStep} step={explore.window.step} change={(step) => explore.change({ step })} />
        <Select
          size="xs"
          aria-label="Compare with"
          placeholder="Compare with…"
          data={COMPARES}
          value={explore.compare}
          onChange={(compare) => explore.change({ compare })}
          clearable
          w={160}
        />
        <Switch size="sm" label="Stack" checked={explore.stack} onChange={(event) => explore.change({ stack: event.currentTarget.checked ? "1" : null })} />
        <SegmentedControl
          size="xs"
          aria-label="Show as"
          className={classes.right ?? ""}
          data={[
            { value: "graph", label: "Graph" },
            { value: "table", label: "Table" },
          ]}
          value={explore.view}
          onChange={(view) => explore.change({ view: (view as View) === "graph" ? null : view })}
        />
        <Tooltip label="Copy a link to just this">
          <ActionIcon aria-label="Copy a link" onClick={() => void copyLink(explore.window.end)}>
            <IconLink size={17} />
          </ActionIcon>
        </Tooltip>
      </div>
      {expressions.map((expression, at) => (
        // The place is what an expression is known by: two may be the same.
        <section key={at} className={`card ${classes.query}`} aria-label={`Query ${at + 1}`}>
          <div className={classes.ask}>
            <Editor label={`Expression ${at + 1}`} value={expression} run={(text) => run(at, text)} changed={(text) => (drafts.current[at] = text)} />
            <Group gap={4} wrap="nowrap">
              <Button size="xs" leftSection={<IconPlayerPlay size={14} />} onClick={() => run(at, (drafts.current[at] ?? expression).trim())}>
                Ask
              </Button>
              <Tooltip label="Format">
                <ActionIcon aria-label={`Format expression ${at + 1}`} onClick={() => void format(at)}>
                  <IconWand size={16} />
                </ActionIcon>
              </Tooltip>
              {expressions.length > 1 && (
                <Tooltip label="Remove">
                  <ActionIcon aria-label={`Remove query ${at + 1}`} onClick={() => remove(at)}>
                    <IconTrash size={16} />
                  </ActionIcon>
                </Tooltip>
              )}
            </Group>
          </div>
          {expression !== "" && (
            <Answer
              expression={expression}
              window={explore.window}
              view={explore.view}
              stack={explore.stack}
              compare={secondsOf(explore.compare ?? "")}
              isLive={explore.isLive}
              asked={asked}
              zoom={explore.zoom}
            />
          )}
        </section>
      ))}
      {isEmpty ? (
        <Examples choose={(expression) => setExpressions([expression])} />
      ) : (
        <Button
          variant="default"
          size="xs"
          leftSection={<IconPlus size={14} />}
          disabled={expressions.length >= EXPRESSIONS_MAX}
          onClick={() => setExpressions([...expressions, ""])}
        >
          Add a query
        </Button>
      )}
    </>
  );
}

/** How long a time, where it ends, and the ways back and forth. */
function Span({ explore }: { explore: ReturnType<typeof useExplore> }) {
  const { window, span, isLive, change } = explore;
  const seconds = window.end - window.start;
  const data = SPANS.includes(span) ? SPANS : [...SPANS, span];
  return (
    <Group gap={4}>
      <Tooltip label="Earlier">
        <ActionIcon aria-label="Earlier" onClick={() => change({ end: String(window.end - seconds / 2) })}>
          <IconChevronLeft size={17} />
        </ActionIcon>
      </Tooltip>
      <SegmentedControl size="xs" aria-label="Time span" data={data} value={span} onChange={(to) => change({ span: to === "1h" ? null : to })} />
      <Tooltip label="Later">
        <ActionIcon aria-label="Later" disabled={isLive} onClick={() => change({ end: window.end + seconds / 2 >= Date.now() / 1000 ? null : String(window.end + seconds / 2) })}>
          <IconChevronRight size={17} />
        </ActionIcon>
      </Tooltip>
      <Menu position="bottom-start">
        <Menu.Target>
          <Button variant="default" size="xs" className="num">
            {isLive ? "until now" : `until ${new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "short" }).format(window.end * 1000)}`}
          </Button>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item disabled={isLive} onClick={() => change({ end: null })}>
            Follow the present
          </Menu.Item>
          <Menu.Item leftSection={<IconZoomOut size={15} />} onClick={() => change({ span: `${seconds * 2}s`, step: null })}>
            Twice as long
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
    </Group>
  );
}

function StepInput({ value, step, change }: { value: string; step: number; change: (step: string | null) => void }) {
  const [text, setText] = useState(value);
  const isWrong = text !== "" && secondsOf(text) === null;
  return (
    <TextInput
      size="xs"
      w={110}
      aria-label="Step"
      placeholder={`step ${step}s`}
      value={text}
      error={isWrong}
      onChange={(event) => setText(event.currentTarget.value)}
      onBlur={() => !isWrong && change(text || null)}
      onKeyDown={(event) => event.key === "Enter" && !isWrong && change(text || null)}
    />
  );
}

/** A link shows what is seen now, also later: it names the end. */
async function copyLink(end: number): Promise<void> {
  const url = new URL(location.href);
  url.searchParams.set("end", String(end));
  try {
    await navigator.clipboard.writeText(url.toString());
    tell.done("The link is copied");
  } catch (problem) {
    tell.failed("The link could not be copied")(problem);
  }
}
