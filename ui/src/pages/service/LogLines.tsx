import { memo, type ReactNode } from "react";
import type { LogLine } from "../../api/client";
import { shortId } from "../../parts/names";
import { clockTime, exactTime } from "../../parts/Time";
import classes from "./Logs.module.css";

interface Props {
  lines: (LogLine & { key?: number })[];
  mark?: string;
  replicas?: boolean;
}

export function LogLines({ lines, mark = "", replicas = true }: Props) {
  return lines.map((line, at) => <Line key={line.key ?? `${line.at}${at}`} line={line} mark={mark} replicas={replicas} />);
}

const Line = memo(function Line({ line, mark, replicas }: { line: LogLine; mark: string; replicas: boolean }) {
  const bad = line.stream === "stderr";
  return (
    <div className={classes.line} data-stream={line.stream}>
      <time dateTime={line.at} title={exactTime(line.at)}>
        {clockTime(line.at)}
      </time>
      {replicas && <span className={classes.replica} title={line.replica}>
          {shortId(line.replica)}
        </span>}
      <span className={classes.sign} title={bad ? "stderr" : undefined}>
        {bad ? "err" : ""}
      </span>
      <span className={classes.text}>{marked(line.text, mark)}</span>
    </div>
  );
});

function marked(text: string, mark: string): ReactNode {
  if (!mark) return text;
  const parts: ReactNode[] = [];
  const low = text.toLowerCase();
  const needle = mark.toLowerCase();
  let from = 0;
  for (let at = low.indexOf(needle); at >= 0; at = low.indexOf(needle, from)) {
    parts.push(text.slice(from, at), <mark key={at}>{text.slice(at, at + needle.length)}</mark>);
    from = at + needle.length;
  }
  return [...parts, text.slice(from)];
}
