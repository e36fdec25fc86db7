import { readFile } from "node:fs/promises";
import { expect, test } from "../fixture";

test("changes are read on as one scrolls, to the first", async ({ signedIn: page, backend }) => {
  await page.goto("/changes");
  const entries = page.getByRole("list", { name: "Changes" }).locator("> li");
  await expect(entries.first()).toContainText("Plan created");
  const all = backend.world.events.length;
  await expect(async () => {
    await page.keyboard.press("End");
    expect(await entries.count()).toBe(all);
  }).toPass();
  await expect(page.getByText(`${all} changes, that is all`)).toBeVisible();
});

test("a change opens into its diff, its evidence and the chain that led to it", async ({ signedIn: page }) => {
  await page.goto("/changes?subject=web&kind=release.restored");
  await page.getByRole("button", { name: /^Release restored, web/ }).click();
  await expect(page.getByText("How it came about")).toBeVisible();
  await expect(page.getByRole("link", { name: "Plan applied" })).toBeVisible();
  await expect(page.getByRole("link", { name: "Release created" })).toBeVisible();
  await expect(page.getByText("readiness_failures: 12")).toBeVisible();
  const diff = page.getByLabel("Before and after of web");
  await expect(diff.locator('[data-sign="-"]')).toContainText("release: 13");
  await expect(diff.locator('[data-sign="+"]')).toContainText("release: 12");
  await expect(page).toHaveURL(/open=evt_/);
  await page.getByRole("link", { name: "Plan applied" }).click();
  await expect(page.getByRole("button", { name: /^Plan applied/, expanded: true })).toBeVisible();
});

test("names of services and people filter, and the filter stands in the address", async ({ signedIn: page }) => {
  await page.goto("/changes");
  const entries = page.getByRole("list", { name: "Changes" }).locator("> li");
  await page.getByRole("combobox", { name: "By whom" }).fill("mei");
  await page.keyboard.press("Escape");
  await expect(entries).toHaveCount(3);
  await expect(page).toHaveURL(/actor=mei/);
  await page.getByRole("combobox", { name: "Kind" }).fill("release");
  await expect(entries).toHaveCount(1);
  await page.getByRole("combobox", { name: "Of what" }).fill("nothing");
  await expect(page.getByRole("heading", { name: "No change matches" })).toBeVisible();
});

test("changes of a time, a span back or between two", async ({ signedIn: page, backend }) => {
  await page.goto("/changes");
  const entries = page.getByRole("list", { name: "Changes" }).locator("> li");
  const since = (ms: number) => backend.world.events.filter((event) => Date.parse(event.at) >= backend.world.born - ms).length;
  await page.getByRole("combobox", { name: "When" }).click();
  await page.getByRole("option", { name: "Last hour" }).click();
  await expect(page).toHaveURL(/within=1h/);
  await expect(entries).toHaveCount(since(3_600_000));
  await page.getByRole("combobox", { name: "When" }).click();
  await page.getByRole("option", { name: "Between…" }).click();
  await page.getByLabel("From", { exact: true }).fill("2001-01-01T00:00");
  await page.getByLabel("Until", { exact: true }).fill("2001-01-02T00:00");
  await expect(page).toHaveURL(/to=2001-01-01T23/);
  await expect(page.getByRole("heading", { name: "No change matches" })).toBeVisible();
  await page.goto("/changes?within=24h");
  await expect(entries).toHaveCount(since(24 * 3_600_000));
});

test("the verdict on the ledger is told as it is", async ({ signedIn: page, backend }) => {
  await page.goto("/changes");
  await page.getByRole("button", { name: "Verify the ledger" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog).toContainText("Intact");
  await expect(dialog).toContainText("End not provable");
  await dialog.getByRole("button", { name: "Close" }).click();
  backend.world.intact = false;
  await page.getByRole("button", { name: "Verify the ledger" }).click();
  await expect(dialog).toContainText("Not as it was written");
  await expect(dialog).toContainText("Entry 12 does not match its hash");
});

test("all that matches is exported", async ({ signedIn: page }) => {
  await page.goto("/changes?kind=stead.secret");
  await expect(page.getByText("1 change, that is all")).toBeVisible();
  await page.getByRole("button", { name: "Export the changes" }).click();
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("menuitem", { name: /NDJSON/ }).click()]);
  const lines = (await readFile(await file.path(), "utf8")).trim().split("\n");
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({ kind: "stead.secret.set.v1" });
});
