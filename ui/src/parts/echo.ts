import { useCallback, useEffect, useRef } from "react";

/** An echo that has not come by now will not. */
const ECHO_MS = 3_000;

/**
 * For a field whose value stands in the address as well. The address follows late, and several letters
 * may be on their way at once: what comes back of our own must not set the field back. Anything else
 * (a link, the back button) is adopted. Call the returned function with each value that is written.
 */
export function useEcho(given: string, adopt: (given: string) => void): (written: string) => void {
  const sent = useRef<{ value: string; at: number }[]>([]);
  const seen = useRef(given);
  const adoption = useRef(adopt);
  adoption.current = adopt;

  useEffect(() => {
    if (given === seen.current) return;
    seen.current = given;
    const recent = sent.current.filter((one) => performance.now() - one.at < ECHO_MS);
    const at = recent.findIndex((one) => one.value === given);
    sent.current = at < 0 ? [] : recent.slice(at + 1);
    if (at < 0) adoption.current(given);
  }, [given]);

  return useCallback((written) => {
    sent.current = [...sent.current.slice(-20), { value: written, at: performance.now() }];
  }, []);
}
