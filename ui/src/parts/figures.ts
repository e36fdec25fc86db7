/** Numbers as people read them. */

export function perSecond(value: number): string {
  if (value === 0) return "0";
  if (value < 0.1) return "< 0.1";
  return value < 10 ? value.toFixed(1) : compact(value);
}

export function compact(value: number): string {
  return new Intl.NumberFormat(undefined, { notation: value >= 10_000 ? "compact" : "standard", maximumFractionDigits: 1, minimumFractionDigits: 0 }).format(
    value >= 100 ? Math.round(value) : value,
  );
}

export function percent(ratio: number): string {
  if (ratio === 0) return "0 %";
  if (ratio < 0.0001) return "< 0.01 %";
  const value = ratio * 100;
  return `${value < 1 ? value.toFixed(2) : value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

export function millis(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0 ms";
  if (value < 1) return `${value.toFixed(2)} ms`;
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  return `${(value / 1000).toFixed(value < 10_000 ? 2 : 1)} s`;
}

export function bytes(value: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let left = value;
  while (left >= 1024 && at < units.length - 1) {
    left /= 1024;
    at += 1;
  }
  return `${left < 10 && at > 0 ? left.toFixed(1) : Math.round(left)} ${units[at]}`;
}

export function cores(value: number): string {
  return value < 0.01 ? "< 0.01" : value.toFixed(2);
}

export function count(amount: number, one: string, many = `${one}s`): string {
  return `${amount.toLocaleString()} ${amount === 1 ? one : many}`;
}

/** A ratio of failed answers from which a person should look. */
export const ERROR_RATIO_NOTABLE = 0.005;
export const ERROR_RATIO_BAD = 0.05;
