import { Skeleton, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import * as q from "../../api/queries";
import { Failure } from "../../parts/States";
import { useEnvironment } from "../../shell/environment";
import { LogLines } from "./LogLines";
import classes from "./Logs.module.css";

/** The last lines, read again every few seconds. */
export function LogPane({ name, lines }: { name: string; lines: number }) {
  const environment = useEnvironment();
  const log = useQuery(q.logs(environment, name, { tail: lines }));
  return (
    <div className={`card ${classes.pane}`}>
      {log.isPending && <Skeleton h={260} m="sm" aria-busy="true" />}
      {log.error && !log.data && <Failure problem={log.error} compact retry={() => void log.refetch()} />}
      {log.data?.length === 0 && (
        <Text size="sm" c="dimmed" px="md" py="xs">
          Nothing written yet.
        </Text>
      )}
      {log.data && <LogLines lines={log.data.slice(-lines)} />}
    </div>
  );
}
