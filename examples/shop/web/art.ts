/**
 * The pictures of the products: flat drawings on a field of 200 by 200, coloured by the classes
 * `m` (main), `d` (deep), `l` (light), `h` (highlight) and `w` (wood), which the style sheet sets
 * for each tint and for light and dark.
 */

import { type Html, raw } from "./html.ts";

const shadow = (cx: number, rx: number, y = 164) => `<ellipse class="s" cx="${cx}" cy="${y}" rx="${rx}" ry="7"/>`;

const DRAWINGS: Record<string, string> = {
  teapot: `${shadow(98, 58)}
    <path class="d" d="M148 92c26-6 32 40 0 42l-4-10c16-2 15-22 2-20z"/>
    <path class="m" d="M52 104C34 100 36 78 20 72l-4 7c8 10 10 34 36 48z"/>
    <path class="m" d="M48 112c0-28 22-44 50-44s50 16 50 44c0 30-20 50-50 50s-50-20-50-50z"/>
    <path class="l" d="M48 112c0-4 .5-8 1.3-11.5 12 6 28 9.5 48.7 9.500s36.7-3.5 48.7-9.500c.8 3.5 1.3 7.5 1.3 11.5 0 3-.2 6-.6 9-12 5-28 8-49.4 8s-37.4-3-49.4-8c-.4-3-.6-6-.6-9z"/>
    <path class="d" d="M70 74c2-10 14-15 28-15s26 5 28 15c-8 3-17 4-28 4s-20-1-28-4z"/>
    <circle class="d" cx="98" cy="53" r="7"/>
    <path class="h" d="M60 104c2-12 9-20 18-24-5 7-8 16-9 26z"/>`,
  sidepot: `${shadow(100, 52)}
    <path class="w" d="M140 108l44-22 5 9-44 26z"/>
    <path class="m" d="M46 98c-8-4-14-16-24-18l-2 6c8 8 12 26 28 32z"/>
    <path class="m" d="M44 116c0-22 20-34 52-34s52 12 52 34c0 28-20 46-52 46s-52-18-52-46z"/>
    <path class="d" d="M64 86c3-9 16-13 32-13s29 4 32 13c-9 4-19 5-32 5s-23-1-32-5z"/>
    <ellipse class="d" cx="96" cy="69" rx="8" ry="6"/>
    <path class="l" d="M47 128c14 6 30 8 49 8s35-2 49-8c-1 5-3 10-6 14-13 4-27 6-43 6s-30-2-43-6c-3-4-5-9-6-14z"/>
    <path class="h" d="M56 110c2-9 8-14 16-17-4 6-6 12-6 19z"/>`,
  kettle: `${shadow(100, 58)}
    <path class="d" d="M58 78c0-52 84-52 84 0h-9c0-38-66-38-66 0z"/>
    <path class="m" d="M50 122c-14-4-10-34-26-46l6-6c18 8 14 30 26 34z"/>
    <path class="m" d="M46 146c0-42 18-72 54-72s54 30 54 72c0 12-8 16-18 16H64c-10 0-18-4-18-16z"/>
    <path class="l" d="M46 146c0-4 .2-8 .6-12h106.800c.4 4 .6 8 .6 12 0 12-8 16-18 16H64c-10 0-18-4-18-16z"/>
    <path class="d" d="M76 80c2-7 12-11 24-11s22 4 24 11z"/>
    <circle class="d" cx="100" cy="64" r="6"/>
    <path class="h" d="M60 126c1-16 7-30 17-38-4 11-6 24-6 38z"/>`,
  tin: `${shadow(100, 46)}
    <path class="m" d="M60 76h80v82c0 3-2 5-5 5H65c-3 0-5-2-5-5z"/>
    <path class="d" d="M56 58c0-4 3-7 7-7h74c4 0 7 3 7 7v18H56z"/>
    <rect class="l" x="60" y="94" width="80" height="46"/>
    <path class="d" d="M100 132c-14-8-16-22 0-32 16 10 14 24 0 32z"/>
    <path class="l" d="M99 104h2v32h-2z"/>
    <rect class="h" x="68" y="80" width="7" height="78" rx="3"/>
    <rect class="h" x="66" y="56" width="40" height="4" rx="2"/>`,
  pouch: `${shadow(100, 48)}
    <path class="m" d="M58 62h84l8 92c.5 5-3 9-8 9H58c-5 0-8.5-4-8-9z"/>
    <path class="d" d="M62 44h76c3 0 5 2 5 5v17H57V49c0-3 2-5 5-5z"/>
    <rect class="w" x="54" y="60" width="92" height="7" rx="3.5"/>
    <circle class="l" cx="100" cy="114" r="27"/>
    <path class="d" d="M100 132c-16-9-18-25 0-36 18 11 16 27 0 36z"/>
    <path class="l" d="M99 102h2v34h-2z"/>
    <path class="h" d="M66 74h7l-5 82h-8z"/>`,
  jar: `${shadow(100, 46)}
    <path class="g" d="M62 78c0-8 6-12 12-14h52c6 2 12 6 12 14v74c0 7-5 11-11 11H73c-6 0-11-4-11-11z"/>
    <path class="m" d="M67 100c12-6 20 4 33 0s22-5 33 1v48c0 6-4 9-9 9H76c-5 0-9-3-9-9z"/>
    <circle class="l" cx="84" cy="118" r="5"/><circle class="d" cx="104" cy="128" r="6"/><circle class="l" cx="120" cy="114" r="4"/>
    <circle class="d" cx="86" cy="142" r="5"/><circle class="l" cx="116" cy="146" r="5"/><circle class="d" cx="100" cy="110" r="4"/>
    <rect class="w" x="68" y="44" width="64" height="18" rx="5"/>
    <rect class="h" x="70" y="82" width="6" height="66" rx="3"/>`,
  cake: `${shadow(100, 66)}
    <circle class="w" cx="100" cy="100" r="64"/>
    <circle class="m" cx="100" cy="100" r="56"/>
    <circle class="d" cx="100" cy="100" r="56" fill-opacity=".35"/>
    <path class="l" d="M70 78l9 5-6 6zM118 64l10 3-7 7zM134 104l4 9-9-1zM64 116l10 2-7 8zM104 134l10-4-2 10zM92 56l7 6-9 3z"/>
    <circle class="l" cx="100" cy="100" r="26"/>
    <path class="d" d="M100 117c-13-8-15-21 0-30 15 9 13 22 0 30z"/>
    <path class="l" d="M99 92h2v28h-2z"/>`,
  mug: `${shadow(96, 50)}
    <path class="d" d="M132 84c38-8 40 52 0 50v-12c22 2 22-28 0-24z"/>
    <path class="m" d="M52 68h84v74c0 12-8 21-20 21H72c-12 0-20-9-20-21z"/>
    <path class="l" d="M52 100c14 8 26-4 42 2s28 4 42-2v-32H52z"/>
    <ellipse class="d" cx="94" cy="68" rx="42" ry="9"/>
    <ellipse class="t" cx="94" cy="69" rx="36" ry="6"/>
    <rect class="h" x="60" y="84" width="7" height="62" rx="3.5"/>
    <path class="v" d="M82 50c-7-9 7-13 0-23M104 50c-7-9 7-13 0-23"/>`,
  bowl: `${shadow(100, 44)}
    <path class="d" d="M80 150h40l4 13H76z"/>
    <path class="m" d="M38 86h124c0 42-26 68-62 68S38 128 38 86z"/>
    <path class="l" d="M38 86h124c0 8-1 15-3 22-16-4-22 8-36 6s-20-10-36-6-26 8-46 0c-2-7-3-14-3-22z"/>
    <ellipse class="d" cx="100" cy="86" rx="62" ry="13"/>
    <ellipse class="t" cx="100" cy="88" rx="53" ry="9"/>
    <path class="h" d="M50 108c4 16 12 27 22 33-6-11-10-22-12-33z"/>`,
  cups: `${shadow(100, 74)}
    <g id="c"><path class="m" d="M28 112h48c0 30-8 48-24 48s-24-18-24-48z"/><ellipse class="d" cx="52" cy="112" rx="24" ry="6"/><ellipse class="t" cx="52" cy="113" rx="19" ry="4"/></g>
    <path class="l" d="M124 112h48c0 30-8 48-24 48s-24-18-24-48z"/><ellipse class="d" cx="148" cy="112" rx="24" ry="6"/><ellipse class="t" cx="148" cy="113" rx="19" ry="4"/>
    <path class="m" d="M76 92h48c0 44-8 70-24 70s-24-26-24-70z"/><ellipse class="d" cx="100" cy="92" rx="24" ry="6"/><ellipse class="t" cx="100" cy="93" rx="19" ry="4"/>
    <path class="h" d="M82 102c1 22 4 38 9 48-1-16-2-32-1-47z"/>`,
  glass: `${shadow(100, 40)}
    <path class="g" d="M58 56h84l-8 96c-.6 7-5 11-12 11H78c-7 0-11.4-4-12-11z"/>
    <path class="m" d="M70 84h60l-4 56c-.5 7-4 11-11 11H85c-7 0-10.5-4-11-11z"/>
    <ellipse class="l" cx="100" cy="84" rx="30" ry="6"/>
    <path class="h" d="M66 66h7l6 84h-6z"/>
    <path class="v" d="M90 46c-7-8 7-12 0-20M110 46c-7-8 7-12 0-20"/>`,
  whisk: `${shadow(100, 40)}
    <path class="w" d="M84 30h32v58H84z"/><path class="d" d="M84 36h32v4H84zM84 46h32v4H84z" fill-opacity=".5"/>
    <path class="m" d="M84 86h32c26 22 26 52 18 76H66c-8-24-8-54 18-76z"/>
    <path class="r" d="M90 90c-16 24-16 48-12 72M96 90c-6 24-7 48-6 72M104 90c6 24 7 48 6 72M110 90c16 24 16 48 12 72"/>
    <rect class="d" x="80" y="82" width="40" height="9" rx="4"/>`,
  scoop: `${shadow(100, 60)}
    <path class="m" d="M112 92l58-54 8 8-54 60z"/>
    <path class="l" d="M34 116c0-22 20-36 46-36s46 14 46 36z"/>
    <path class="m" d="M30 112h100c0 30-18 50-50 50s-50-20-50-50z"/>
    <ellipse class="d" cx="80" cy="112" rx="50" ry="11"/>
    <path class="t" d="M40 112c8-14 22-8 34-12s34-2 46 12c-10 6-24 8-40 8s-30-2-40-8z"/>
    <path class="h" d="M42 130c5 12 12 20 22 25-7-8-11-15-13-24z"/>`,
  strainer: `${shadow(100, 44)}
    <path class="d" d="M20 78h160v9H20z"/><rect class="m" x="44" y="72" width="112" height="20" rx="9"/>
    <path class="l" d="M56 92h88l-10 62c-1 6-6 9-12 9H78c-6 0-11-3-12-9z"/>
    <path class="r" d="M60 106h80M62 120h76M64 134h72M67 148h66M76 92l6 70M92 92l3 70M108 92l-3 70M124 92l-6 70"/>
    <rect class="h" x="52" y="77" width="60" height="4" rx="2"/>`,
  tray: `${shadow(100, 82)}
    <path class="w" d="M24 128h152l-8 30c-1 4-4 5-7 5H39c-3 0-6-1-7-5z"/>
    <ellipse class="w" cx="100" cy="126" rx="78" ry="20"/><ellipse class="d" cx="100" cy="126" rx="66" ry="14" fill-opacity=".35"/>
    <path class="m" d="M70 82h44c0 26-6 46-22 46s-22-20-22-46z"/><ellipse class="d" cx="92" cy="82" rx="22" ry="6"/><ellipse class="t" cx="92" cy="83" rx="17" ry="4"/>
    <path class="l" d="M122 104h30c0 16-4 26-15 26s-15-10-15-26z"/><ellipse class="d" cx="137" cy="104" rx="15" ry="4"/>
    <path class="v" d="M86 68c-6-8 6-11 0-19M100 68c-6-8 6-11 0-19"/>`,
};

const TINTS = new Set(["moss", "amber", "brick", "slate", "mist", "plum"]);

export function drawing(art: string, tint: string, label: string | undefined): Html {
  const name = Object.hasOwn(DRAWINGS, art) ? art : "tin";
  const role = label ? `role="img" aria-label="${label.replace(/[&<>"]/g, "")}"` : `aria-hidden="true"`;
  const inner = DRAWINGS[name]!.replace(' id="c"', "");
  return raw(`<svg class="art ${TINTS.has(tint) ? tint : "moss"}" viewBox="0 0 200 200" ${role}>${inner}</svg>`);
}
