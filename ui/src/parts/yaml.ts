/** A value as YAML, for reading and comparing: keys in their own order, plain words where that is safe. */
export function yaml(value: unknown, indent = 0): string {
  return block(value, indent).join("\n");
}

const PLAIN = /^(?![\d.+-]+$)[\w./][\w ./@:+%()-]*$/;
const WORDS = /^(true|false|null|yes|no|on|off|~)$/i;

export function scalar(value: unknown): string {
  if (value === null || value === undefined) return "null";
  if (typeof value !== "string") return JSON.stringify(value);
  const plain = PLAIN.test(value) && !WORDS.test(value) && !/: |\s$|:$/.test(value) && !value.includes(" #");
  return plain ? value : JSON.stringify(value);
}

function block(value: unknown, indent: number): string[] {
  const pad = "  ".repeat(indent);
  if (Array.isArray(value)) {
    if (value.length === 0) return [`${pad}[]`];
    if (value.every((item) => item === null || typeof item !== "object")) {
      const line = `${pad}[${value.map(scalar).join(", ")}]`;
      if (line.length <= 100) return [line];
    }
    return value.flatMap((item) => {
      const lines = block(item, indent + 1);
      return [`${pad}- ${(lines[0] ?? "").trimStart()}`, ...lines.slice(1)];
    });
  }
  if (value !== null && typeof value === "object") {
    const entries = Object.entries(value);
    if (entries.length === 0) return [`${pad}{}`];
    return entries.flatMap(([key, item]) => {
      const nested = item !== null && typeof item === "object" && Object.keys(item).length > 0;
      const lines = block(item, indent + 1);
      const short = !nested || (Array.isArray(item) && lines.length === 1 && (lines[0] ?? "").trimStart().startsWith("["));
      return short ? [`${pad}${scalar(key)}: ${(lines[0] ?? "").trimStart()}`] : [`${pad}${scalar(key)}:`, ...lines];
    });
  }
  return [`${pad}${scalar(value)}`];
}
