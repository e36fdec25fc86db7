import react from "@vitejs/plugin-react";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

/** Writes `.br` and `.gz` beside each text asset, so that the server never compresses. */
function precompress(): Plugin {
  const text = /\.(js|css|svg|json)$/;
  const smallest = 1024;
  const walk = (dir: string): string[] =>
    readdirSync(dir).flatMap((name) => {
      const path = join(dir, name);
      return statSync(path).isDirectory() ? walk(path) : [path];
    });
  let out = "dist";
  return {
    name: "precompress",
    apply: "build",
    configResolved: (config) => {
      out = config.build.outDir;
    },
    closeBundle: () => {
      for (const path of walk(out).filter((p) => text.test(p))) {
        const raw = readFileSync(path);
        if (raw.length < smallest) continue;
        writeFileSync(`${path}.gz`, gzipSync(raw, { level: 9 }));
        writeFileSync(`${path}.br`, brotliCompressSync(raw, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
      }
    },
  };
}

/** `emptyOutDir` takes the placeholder that keeps the folder in git; this puts it back. */
function keepFolder(): Plugin {
  return {
    name: "keep-folder",
    apply: "build",
    generateBundle() {
      this.emitFile({ type: "asset", fileName: ".gitkeep", source: "" });
    },
  };
}

// `npm run dev` in front of a running Stead (STEAD_URL), or of the test double. Stead refuses changes
// that come from another origin, so the proxy names its own.
const target = process.env.STEAD_URL ?? "http://127.0.0.1:4400";
const to = { target, changeOrigin: true, headers: { origin: target } };
const proxy = { "/api": to, "/prometheus": to };

export default defineConfig({
  plugins: [react(), keepFolder(), precompress()],
  build: { target: "es2022", modulePreload: { polyfill: false }, assetsInlineLimit: 0, chunkSizeWarningLimit: 700 },
  server: { proxy },
  preview: { proxy },
});
