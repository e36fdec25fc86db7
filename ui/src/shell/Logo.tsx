import { Link } from "react-router";
import classes from "./Shell.module.css";

export function Glyph({ size = 26 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden focusable="false">
      <rect width="32" height="32" rx="8" fill="#0b6572" />
      <path d="M8 15.2 16 8.5l8 6.7V23a1.5 1.5 0 0 1-1.5 1.5h-13A1.5 1.5 0 0 1 8 23Z" fill="none" stroke="#fff" strokeWidth="2.2" strokeLinejoin="round" />
      <path
        d="M11.5 19.5h2.3l1.7-3.2 1.9 5 1.4-1.8h1.7"
        fill="none"
        stroke="#7fe0d3"
        strokeWidth="1.9"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}

export function Logo() {
  return (
    <Link to="/" className={classes.logo} aria-label="Stead, go to the map">
      <Glyph />
      Stead
    </Link>
  );
}
