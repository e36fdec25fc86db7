import { CloseButton } from "@mantine/core";
import { IconInfoCircle } from "@tabler/icons-react";
import { useState } from "react";
import { useInfo } from "../../api/queries";
import { sentence } from "../../parts/States";
import classes from "./Map.module.css";

const KEY = "stead-findings-seen";

/** What this machine lacks and what that costs; once read, it stays away until it changes. */
export function Findings() {
  const findings = (useInfo().data?.findings ?? []).filter((finding) => finding.state !== "ok");
  const print = findings.map((finding) => `${finding.name}:${finding.state}`).join(",");
  const [seen, setSeen] = useState(() => localStorage.getItem(KEY));
  if (findings.length === 0 || seen === print) return null;
  return (
    <aside className={classes.findings} aria-label="What this machine lacks">
      <IconInfoCircle size={17} aria-hidden />
      <div>
        {findings.map((finding) => (
          <p key={finding.name}>
            <b>{finding.name}</b> {sentence(finding.message)} <span className="dim">{finding.hint && sentence(finding.hint)}</span>
          </p>
        ))}
      </div>
      <CloseButton
        size="sm"
        aria-label="Hide until it changes"
        onClick={() => {
          localStorage.setItem(KEY, print);
          setSeen(print);
        }}
      />
    </aside>
  );
}
