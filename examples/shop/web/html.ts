/** Templates that escape what is put into them. */

export class Html {
  constructor(readonly text: string) {}
}

export const raw = (text: string): Html => new Html(text);

type Part = Html | string | number | undefined | null | false | Part[];

export function html(fixed: TemplateStringsArray, ...parts: Part[]): Html {
  let text = fixed[0] ?? "";
  for (const [at, part] of parts.entries()) text += shown(part) + (fixed[at + 1] ?? "");
  return new Html(text);
}

function shown(part: Part): string {
  if (part === undefined || part === null || part === false) return "";
  if (part instanceof Html) return part.text;
  if (Array.isArray(part)) return part.map(shown).join("");
  return String(part).replace(/[&<>"']/g, (one) => ESCAPES[one]!);
}

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
