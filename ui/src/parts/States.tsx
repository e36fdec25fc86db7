import { Button, Code, CopyButton, Group, Skeleton, Stack, Text, Title } from "@mantine/core";
import { IconCheck, IconCopy, IconPlugConnectedX, IconRefresh, type Icon } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { ApiProblem } from "../api/client";
import classes from "./States.module.css";

/** Nothing to show, and what to do about it. */
export function Empty(props: { icon: Icon; title: string; children?: ReactNode; command?: string; action?: ReactNode }) {
  return (
    <div className={classes.state}>
      <span className={classes.glyph} aria-hidden>
        <props.icon size={26} stroke={1.5} />
      </span>
      <Title order={2}>{props.title}</Title>
      {props.children && <Text className={classes.words}>{props.children}</Text>}
      {props.command && <Command text={props.command} />}
      {props.action}
    </div>
  );
}

/** A command for the terminal, ready to copy. */
export function Command({ text }: { text: string }) {
  return (
    <Group gap={4} wrap="nowrap" className={classes.command}>
      <Code className={classes.code}>
        <span className={classes.prompt} aria-hidden>
          ${" "}
        </span>
        {text}
      </Code>
      <CopyButton value={text}>
        {({ copied, copy }) => (
          <Button size="compact-sm" variant="subtle" color="gray" onClick={copy} leftSection={copied ? <IconCheck size={14} /> : <IconCopy size={14} />}>
            {copied ? "Copied" : "Copy"}
          </Button>
        )}
      </CopyButton>
    </Group>
  );
}

/** What went wrong, what may help, and another try. */
export function Failure(props: { problem: unknown; title?: string; retry?: () => void; compact?: boolean }) {
  const { problem } = props;
  const known = problem instanceof ApiProblem ? problem : null;
  const message = problem instanceof Error ? problem.message : String(problem);
  return (
    <div className={props.compact ? classes.strip : classes.state} role="alert">
      <span className={`${classes.glyph} ${classes.bad}`} aria-hidden>
        <IconPlugConnectedX size={props.compact ? 18 : 26} stroke={1.5} />
      </span>
      {!props.compact && <Title order={2}>{props.title ?? "This could not be read"}</Title>}
      <div>
        <Text className={classes.words}>{sentence(message)}</Text>
        {known?.hint && <Text className={classes.words}>{sentence(known.hint)}</Text>}
      </div>
      {known && <Text className={`mono ${classes.code2}`}>{known.code}</Text>}
      {props.retry && (
        <Button variant="default" leftSection={<IconRefresh size={16} />} onClick={props.retry}>
          Try again
        </Button>
      )}
    </div>
  );
}

export function sentence(text: string): string {
  const trimmed = text.trim();
  const capital = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…)`]$/.test(capital) ? capital : `${capital}.`;
}

/** The outline of a list while it is read. */
export function ListSkeleton({ rows = 6 }: { rows?: number }) {
  return (
    <Stack gap={1} className="card" p="md" aria-busy="true" aria-label="Reading">
      {Array.from({ length: rows }, (_, i) => (
        <Group key={i} wrap="nowrap" py={9}>
          <Skeleton h={12} w={`${18 + ((i * 37) % 14)}%`} />
          <Skeleton h={12} w="12%" />
          <Skeleton h={12} w={`${24 + ((i * 53) % 20)}%`} visibleFrom="sm" />
          <Skeleton h={12} w="10%" ml="auto" />
        </Group>
      ))}
    </Stack>
  );
}
