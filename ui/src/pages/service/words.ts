/** Splits a line into words as a shell does, with quotes and backslashes and nothing else; null while a quote is open. */
export function words(line: string): string[] | null {
  const found: string[] = [];
  let word: string | null = null;
  let quote = "";
  for (let at = 0; at < line.length; at += 1) {
    const letter = line.charAt(at);
    if (quote === "'") {
      if (letter === quote) quote = "";
      else word += letter;
    } else if (letter === "\\") {
      at += 1;
      if (at === line.length) return null;
      word = (word ?? "") + line.charAt(at);
    } else if (quote) {
      if (letter === quote) quote = "";
      else word += letter;
    } else if (letter === "'" || letter === '"') {
      quote = letter;
      word ??= "";
    } else if (/\s/.test(letter)) {
      if (word !== null) found.push(word);
      word = null;
    } else word = (word ?? "") + letter;
  }
  if (quote) return null;
  if (word !== null) found.push(word);
  return found;
}
