import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString, type OpenAPI3 } from "openapi-typescript";

// Makes src/api/schema.d.ts from the description of the API; with --check it only says whether it is current.
const SOURCE = new URL("../../docs/reference/openapi.json", import.meta.url);
const TARGET = new URL("../src/api/schema.d.ts", import.meta.url);
const METHODS = ["get", "put", "post", "delete", "patch"] as const;

const description = JSON.parse(await readFile(SOURCE, "utf8")) as OpenAPI3;
// Routes are called by path here. Their ids repeat (`list`, `show`), and the generator would merge them.
for (const path of Object.values(description.paths ?? {}) as Record<string, { operationId?: string }>[]) for (const method of METHODS) delete path[method]?.operationId;

const text = `// Made by \`npm run generate\` from docs/reference/openapi.json; do not edit.\n\n${astToString(await openapiTS(description))}`;
if (process.argv.includes("--check")) {
  if ((await readFile(TARGET, "utf8").catch(() => "")) !== text) {
    console.error("src/api/schema.d.ts is stale: npm run generate");
    process.exit(1);
  }
} else {
  await writeFile(TARGET, text);
}
