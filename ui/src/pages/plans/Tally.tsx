import type { Schemas } from "../../api/client";
import { ACTION } from "./marks";
import classes from "./Plans.module.css";

const ORDER = ["create", "change", "replace", "remove"] as const;

/** `+2 ~1 −1`: how much a plan does, with the words for those who do not see it. */
export function Tally({ summary }: { summary: Schemas["Summary"] }) {
  const some = ORDER.filter((action) => summary[action] > 0);
  if (some.length === 0) return <span className="dim">nothing to do</span>;
  return (
    <span className={classes.tally}>
      {some.map((action) => (
        <span key={action} data-tone={ACTION[action].tone} title={`${ACTION[action].title}: ${summary[action]}`}>
          <span aria-hidden>
            {ACTION[action].sign}
            {summary[action]}
          </span>
          <span className="sr">
            {ACTION[action].title} {summary[action]}
          </span>
        </span>
      ))}
    </span>
  );
}
