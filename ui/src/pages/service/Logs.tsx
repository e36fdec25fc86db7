import { ActionIcon, Button, Group, Select, Switch, Text, TextInput, Tooltip } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { IconArrowDown, IconDownload, IconFileText, IconPlayerPause, IconPlayerPlay, IconSearch } from "@tabler/icons-react";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { useSearchParams } from "react-router";
import type { ServiceDetail } from "../../api/client";
import { count } from "../../parts/figures";
import { shortId } from "../../parts/names";
import { saveText } from "../../parts/save";
import { Empty } from "../../parts/States";
import { useEnvironment } from "../../shell/environment";
import { jobsOf } from "./jobs";
import { LogLines } from "./LogLines";
import classes from "./Logs.module.css";
import { LINES_MAX, useLog } from "./useLog";

const SEARCH_AFTER_MS = 250;
const WRAP_KEY = "stead-wrap";
const NEAR_END_PX = 40;

/** The live log: follows until one scrolls up or pauses. */
export function Logs({ service }: { service: ServiceDetail }) {
  const environment = useEnvironment();
  const [params, setParams] = useSearchParams();
  const [words, setWords] = useState(params.get("contains") ?? "");
  const [contains] = useDebouncedValue(words, SEARCH_AFTER_MS);
  const replica = params.get("replica");
  const jobs = jobsOf(service);
  // A job has no replicas but its runs.
  const job = params.get("job") ?? (service.kind === "job" ? (jobs[0] ?? null) : null);
  const [wrap, setWrap] = useState(() => localStorage.getItem(WRAP_KEY) !== "no");
  const [paused, setPaused] = useState(false);
  const [atEnd, setAtEnd] = useState(true);
  const box = useRef<HTMLDivElement>(null);
  const { lines, waiting, state } = useLog({ environment, name: service.name, contains, replica, job }, paused);

  useEffect(() => {
    setParams(
      (before) => {
        if (contains) before.set("contains", contains);
        else before.delete("contains");
        return before;
      },
      { replace: true, preventScrollReset: true },
    );
  }, [contains, setParams]);

  const toEnd = useCallback(() => {
    box.current?.scrollTo({ top: box.current.scrollHeight });
  }, []);
  useLayoutEffect(() => {
    if (atEnd && !paused) toEnd();
  }, [lines, atEnd, paused, wrap, toEnd]);

  const follow = () => {
    setPaused(false);
    setAtEnd(true);
    toEnd();
  };
  const download = () =>
    saveText(service.name, lines.map((line) => `${line.at} ${line.replica} ${line.stream} ${line.text}`).join("\n") + "\n");

  return (
    <div className={classes.log}>
      <div className={classes.bar}>
        <TextInput
          className={classes.search}
          data-page-search
          aria-label="Only lines that contain"
          placeholder="Only lines that contain…"
          leftSection={<IconSearch size={15} aria-hidden />}
          value={words}
          onChange={(event) => setWords(event.currentTarget.value)}
        />
        {jobs.length > 0 && (
          <Select
            aria-label="Job"
            placeholder="The service itself"
            clearable={service.kind !== "job"}
            allowDeselect={service.kind !== "job"}
            w={170}
            data={jobs.map((name) => ({ value: name, label: `Runs of ${name}` }))}
            value={job}
            onChange={(next) =>
              setParams((before) => (before.delete("replica"), next ? before.set("job", next) : before.delete("job"), before), { replace: true, preventScrollReset: true })
            }
          />
        )}
        <Select
          aria-label="Replica"
          placeholder="All replicas"
          clearable
          w={190}
          data={[...new Set([...service.replicas.map((each) => each.id), ...(replica ? [replica] : [])])].map((id) => ({ value: id, label: shortId(id) }))}
          value={replica}
          onChange={(next) =>
            setParams((before) => (next ? before.set("replica", next) : before.delete("replica"), before), { replace: true, preventScrollReset: true })
          }
        />
        <Switch
          label="Wrap"
          size="sm"
          checked={wrap}
          onChange={(event) => {
            setWrap(event.currentTarget.checked);
            localStorage.setItem(WRAP_KEY, event.currentTarget.checked ? "yes" : "no");
          }}
        />
        <Group gap="xs" ml="auto">
          <Text size="xs" c="dimmed" className="num" role="status">
            {state === "reconnecting" ? "Reconnecting…" : paused ? `Paused, ${count(waiting, "line")} waiting` : `${count(lines.length, "line")}${lines.length === LINES_MAX ? " (older ones let go)" : ""}`}
          </Text>
          <Button variant="default" size="xs" leftSection={paused ? <IconPlayerPlay size={15} /> : <IconPlayerPause size={15} />} onClick={() => (paused ? follow() : setPaused(true))}>
            {paused ? "Follow" : "Pause"}
          </Button>
          <Tooltip label="Download what is shown">
            <ActionIcon variant="default" size={30} aria-label="Download what is shown" onClick={download} disabled={lines.length === 0}>
              <IconDownload size={16} />
            </ActionIcon>
          </Tooltip>
        </Group>
      </div>
      <div className={`card ${classes.frame}`}>
        <div
          ref={box}
          className={classes.box}
          data-wrap={wrap || undefined}
          tabIndex={0}
          role="log"
          aria-label={`Log of ${service.name}`}
          aria-live="off"
          onScroll={(event) => {
            const at = event.currentTarget;
            setAtEnd(at.scrollHeight - at.scrollTop - at.clientHeight < NEAR_END_PX);
          }}
          onKeyDown={(event) => {
            if (event.key !== " ") return;
            event.preventDefault();
            if (paused) follow();
            else setPaused(true);
          }}
        >
          {lines.length === 0 ? (
            <Empty icon={IconFileText} title={contains ? "No line contains that" : "Nothing written yet"}>
              {contains ? "New lines that do will show up here." : `What ${service.name} writes to stdout and stderr shows up here at once.`}
            </Empty>
          ) : (
            <LogLines lines={lines} mark={contains} replicas={replica === null} />
          )}
        </div>
        {(!atEnd || paused) && lines.length > 0 && (
          <Button className={classes.newest ?? ""} size="xs" radius="xl" leftSection={<IconArrowDown size={14} />} onClick={follow}>
            Newest{waiting > 0 ? ` (${waiting})` : ""}
          </Button>
        )}
      </div>
    </div>
  );
}
