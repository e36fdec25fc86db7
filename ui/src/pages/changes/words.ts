/** `stead.release.create.v1` in words: `release created`. */
const PAST: Record<string, string> = {
  set: "set",
  put: "put",
  undo: "undone",
  begin: "begun",
  stop: "stopped",
  run: "run",
  plan: "planned",
  apply: "applied",
  deny: "denied",
  scale: "scaled",
};

export function words(kind: string): string {
  const parts = kind.replace(/^stead\./, "").replace(/\.v\d+$/, "").split(".");
  if (parts.length < 2) return kind;
  const verb = parts.at(-1) ?? "";
  const past = PAST[verb] ?? (/(ed|en|wn)$/.test(verb) ? verb : verb.endsWith("e") ? `${verb}d` : `${verb}ed`);
  const text = `${parts.slice(0, -1).join(" ")} ${past}`.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Where a subject of the ledger is shown. */
export function pageOf(subject: string): string | null {
  const at = subject.indexOf("/");
  const kind = subject.slice(0, at);
  const name = subject.slice(at + 1);
  switch (kind) {
    case "service":
    case "need":
      return `/services/${name}`;
    case "plan":
      return `/plans/${name}`;
    case "run":
      return `/runs/${name}`;
    case "secret":
      return `/secrets?q=${encodeURIComponent(name)}`;
    case "person":
      return "/access";
    case "token":
      return "/access/tokens";
    default:
      return null;
  }
}
