import { useEffect, useRef } from "react";
import { useNavigate } from "react-router";
import { PAGES } from "./pages";

const SECOND_KEY_MS = 2_000;

const typing = (target: EventTarget | null): boolean =>
  target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));

/** `g m` and its like, `/` for the page's search, `?` for the list of keys. */
export function useKeys(openPalette: () => void, openHelp: () => void): void {
  const navigate = useNavigate();
  // Outlives a new rendering between the two keys.
  const goingUntil = useRef(0);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
      if (document.querySelector('[role="dialog"]')) return;
      if (performance.now() < goingUntil.current) {
        goingUntil.current = 0;
        const page = PAGES.find((each) => each.key === event.key);
        if (!page) return;
        event.preventDefault();
        void navigate(page.path);
        return;
      }
      if (event.key === "g") goingUntil.current = performance.now() + SECOND_KEY_MS;
      else if (event.key === "/") {
        event.preventDefault();
        const search = document.querySelector<HTMLInputElement>("[data-page-search]");
        if (search) {
          search.focus();
          search.select();
        } else openPalette();
      } else if (event.key === "?") {
        event.preventDefault();
        openHelp();
      }
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, [navigate, openPalette, openHelp]);
}
