import { test as base, expect, type Page } from "@playwright/test";
import { startBackend, type Backend } from "./backend/server";

interface Given {
  backend: Backend;
  /** A signed-in page. */
  signedIn: Page;
  /** What the browser complained of: nothing, at the end of each test. */
  complaints: string[];
}

// The test tool reads the names of what a fixture stands on from this pattern; an empty one means nothing.
/* oxlint-disable no-empty-pattern */
export const test = base.extend<Given>({
  backend: async ({}, use) => {
    const backend = await startBackend();
    await use(backend);
    await backend.close();
  },
  complaints: async ({}, use) => {
    await use([]);
  },
  page: async ({ page, complaints }, use) => {
    page.on("console", (message) => {
      // A refused answer is reported by the browser itself; the pages handle those.
      if (message.type() === "error" && !/Failed to load resource|net::ERR_/.test(message.text())) complaints.push(message.text());
    });
    page.on("pageerror", (problem) => complaints.push(String(problem)));
    await use(page);
    expect(complaints, "errors in the browser's console").toEqual([]);
  },
  baseURL: async ({ backend }, use) => use(backend.url),
  signedIn: async ({ page, backend }, use) => {
    await enter(page, backend);
    await use(page);
  },
});

export async function enter(page: Page, backend: Backend, link = backend.link): Promise<void> {
  await page.goto(`${backend.url}/sign-in#${link}`);
  await expect(page.getByRole("heading", { name: "Map", level: 1 })).toBeVisible();
}

export { expect };
