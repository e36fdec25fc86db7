import { Text } from "@mantine/core";
import { useMemo } from "react";
import classes from "./Diff.module.css";
import { diffLines, type DiffLine } from "./diff";
import { yaml } from "./yaml";

const CONTEXT = 3;

/** Two values side by side in one text: what goes has `-`, what comes has `+`. */
export function Diff({ before, after, label }: { before: unknown; after: unknown; label: string }) {
  const lines = useMemo(() => folded(diffLines(text(before), text(after))), [before, after]);
  if (lines.every((line) => line !== null && line.sign === " ")) {
    return (
      <Text size="sm" c="dimmed">
        Nothing differs.
      </Text>
    );
  }
  return (
    <pre className={classes.diff} aria-label={label} tabIndex={0}>
      {lines.map((line, at) =>
        line === null ? (
          <span key={at} className={classes.fold}>
            {"⋯\n"}
          </span>
        ) : (
          <span key={at} data-sign={line.sign} className={classes.line}>
            <span className={classes.sign}>{line.sign}</span>
            {`${line.text}\n`}
          </span>
        ),
      )}
    </pre>
  );
}

const text = (value: unknown): string => (value === undefined || value === null ? "" : typeof value === "string" ? value : yaml(value));

/** Far from any difference a gap stands for the lines; `null` marks it. */
function folded(lines: DiffLine[]): (DiffLine | null)[] {
  const near = new Set<number>();
  lines.forEach((line, at) => {
    if (line.sign === " ") return;
    for (let each = at - CONTEXT; each <= at + CONTEXT; each += 1) near.add(each);
  });
  return lines.flatMap((line, at) => (near.has(at) ? [line] : near.has(at - 1) || at === 0 ? [null] : []));
}
