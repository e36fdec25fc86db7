// Bundles services (all, or those named as arguments) with all they use into SERVICE/dist/server.mjs.
// A service that may keep its records in SQLite gets the engine beside it, as the one file that
// can't be bundled. On a fresh checkout it first installs what the build needs.

import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const all = ["web", "catalog", "cart", "checkout", "payments"];
const services = process.argv.length > 2 ? process.argv.slice(2) : all;
for (const name of services) if (!all.includes(name)) throw new Error(`there is no service "${name}"`);

if (!existsSync(join(here, "node_modules/.package-lock.json"))) {
  console.log("installing what the build needs");
  const { status } = spawnSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: here, stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
}
const { build } = await import("esbuild");
const withSqlite = new Set(["catalog", "checkout", "payments"]);

const isMusl = process.platform === "linux" && !process.report.getReport().header.glibcVersionRuntime;
const prebuilt = join(
  here,
  "node_modules/@photostructure/sqlite/prebuilds",
  `${process.platform}-${process.arch}`,
  `@photostructure+sqlite.${isMusl ? "musl" : "glibc"}.node`,
);

// The package looks for its engine in node_modules, which a bundle doesn't have.
const sqliteBeside = {
  name: "sqlite-beside",
  setup(build) {
    build.onResolve({ filter: /^node-gyp-build$/ }, () => ({ path: "node-gyp-build", namespace: "beside" }));
    build.onLoad({ filter: /.*/, namespace: "beside" }, () => ({
      contents: `export default () => require(new URL("./sqlite.node", import.meta.url).pathname);`,
    }));
  },
};

for (const service of services) {
  const dist = join(here, service, "dist");
  rmSync(dist, { recursive: true, force: true });
  mkdirSync(dist, { recursive: true });
  await build({
    entryPoints: [join(here, service, "server.ts")],
    outfile: join(dist, "server.mjs"),
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    mainFields: ["module", "main"],
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    // Packages in the older module form ask for Node's own modules with `require`.
    banner: { js: `import{createRequire as __createRequire}from"node:module";const require=__createRequire(import.meta.url);` },
    external: ["pg-native"],
    loader: { ".css": "text", ".svg": "text", ".client.js": "text" },
    plugins: [sqliteBeside],
    logLevel: "warning",
  });
  if (withSqlite.has(service)) copyFileSync(prebuilt, join(dist, "sqlite.node"));
  const kib = Math.round(statSync(join(dist, "server.mjs")).size / 1024);
  console.log(`${service.padEnd(9)} dist/server.mjs ${kib} KiB${withSqlite.has(service) ? " + sqlite.node" : ""}`);
}

if (/"resolved":/.test(readFileSync(join(here, "package-lock.json"), "utf8"))) {
  const foreign = readFileSync(join(here, "package-lock.json"), "utf8").match(/"resolved": "(?!https:\/\/registry\.npmjs\.org\/)[^"]+"/);
  if (foreign) throw new Error(`package-lock.json names another registry: ${foreign[0]}`);
}
