/** Hands a file to the browser, made here from what is shown. */
export function save(filename: string, type: string, content: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = filename;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const stamp = (): string => new Date().toISOString().slice(0, 16).replace(/[:T]/g, "-");
const file = (name: string, ending: string): string => `stead-${name.toLowerCase().replace(/\W+/g, "-")}-${stamp()}.${ending}`;

export function saveJson(name: string, rows: unknown): void {
  save(file(name, "json"), "application/json", `${JSON.stringify(rows, null, 2)}\n`);
}

export function saveCsv(name: string, head: string[], rows: unknown[][]): void {
  save(file(name, "csv"), "text/csv", `${[head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`);
}

/** Quoted where needed; a leading sign that a spreadsheet would run as a formula is made plain text. */
export function cell(value: unknown): string {
  const text = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  const plain = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
}

export function saveText(name: string, text: string): void {
  save(file(name, "log"), "text/plain", text);
}
