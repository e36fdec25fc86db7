/** `stead.release.created.v1` in words: `Release created`. */
export function words(kind: string): string {
  const parts = kind.replace(/^stead\./, "").replace(/\.v\d+$/, "").split(".");
  const text = parts.join(" ").replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The verb of a kind, which tells what sort of change it was. */
export function verbOf(kind: string): string {
  return kind.replace(/\.v\d+$/, "").split(".").at(-1) ?? "";
}

/** What somebody types as a kind, as the ledger spells it: `release` is `stead.release`. */
export function kindOf(typed: string): string {
  const word = typed.trim().toLowerCase().replaceAll(" ", ".");
  return word === "" || word.startsWith("stead.") ? word : `stead.${word}`;
}
