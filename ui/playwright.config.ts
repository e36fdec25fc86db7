import { defineConfig } from "@playwright/test";

// Debian's Chromium: the test tool's own download is not needed. As root it wants no sandbox.
const chromium = process.env.STEAD_CHROMIUM ?? "/usr/bin/chromium";

export default defineConfig({
  testDir: "tests",
  outputDir: "test-results",
  fullyParallel: true,
  workers: 2,
  retries: 0,
  forbidOnly: Boolean(process.env.CI),
  reporter: [["list"]],
  timeout: 45_000,
  expect: { timeout: 10_000 },
  use: {
    viewport: { width: 1440, height: 900 },
    locale: "en-GB",
    timezoneId: "Europe/Berlin",
    actionTimeout: 10_000,
    trace: "retain-on-failure",
    // A colour on its way to another has a contrast of its own; what is tested is where it arrives.
    contextOptions: { reducedMotion: "reduce" },
    launchOptions: {
      executablePath: chromium,
      args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    },
  },
  projects: [
    { name: "fixtures", testMatch: "pages/**/*.spec.ts" },
    { name: "real", testMatch: "real/**/*.spec.ts", use: { baseURL: process.env.STEAD_URL } },
    { name: "screenshots", testMatch: "screenshots.ts" },
  ],
});
