import { expect, test } from "../fixture";

test("a plan is read, applied, and followed to its end", async ({ signedIn: page }) => {
  await page.goto("/plans");
  await page.getByRole("link", { name: "recommend.cache, recommend and 3 more" }).click();
  await expect(page.getByRole("region", { name: "Remove" })).toContainText("service/banner");
  await expect(page.getByRole("region", { name: "Replace" })).toContainText("run.user");
  await expect(page.getByRole("article", { name: "service/web" })).toContainText("run.replicas");
  await expect(page.getByText("The working tree of /srv/shop had changes")).toBeVisible();
  await page.getByText("5 things stay as they are").click();
  await expect(page.getByText("service/catalog, service/cart")).toBeVisible();

  await page.getByRole("button", { name: "Apply" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog).toContainText("Remove service/banner");
  await expect(dialog).toContainText("It holds changes that are in no commit");
  await dialog.getByRole("button", { name: "Apply 5 steps" }).click();
  await expect(page).toHaveURL(/\/runs\/run_/);
  const run = page.getByRole("region", { name: "Run" });
  await expect(run.getByRole("progressbar")).toBeVisible();
  await expect(run.getByText("Done", { exact: true }).first()).toBeVisible();
  await expect(run.getByRole("progressbar")).toHaveCount(0, { timeout: 15_000 });
  await run.getByRole("link", { name: "this plan" }).click();
  await expect(page.getByRole("heading", { level: 1 })).toContainText("Applied");
  await expect(page.getByRole("button", { name: "Apply" })).toHaveCount(0);
});

test("a failed run says why and what was undone", async ({ signedIn: page }) => {
  await page.goto("/runs/run_failed");
  const run = page.getByRole("region", { name: "Run" });
  await expect(run).toContainText("Failed, undone");
  await expect(run.getByRole("alert")).toContainText("web release 13 never became ready");
  await expect(run.getByRole("alert")).toContainText("what served before went on serving");
  await expect(run.getByRole("listitem").filter({ hasText: "start web release 13" })).toContainText("Failed");
});

test("a run is cancelled after a preview", async ({ signedIn: page, backend }) => {
  await page.goto("/plans/pln_open");
  await page.getByRole("button", { name: "Apply" }).click();
  await page.getByRole("dialog").getByRole("button", { name: /^Apply/ }).click();
  await page.getByRole("button", { name: "Cancel the run" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel the run" }).click();
  await expect(page.getByRole("region", { name: "Run" })).toContainText("Cancelled");
  expect(backend.world.runs[0]?.state).toBe("cancelled");
});

test("a stale plan cannot be applied and says how to make a new one", async ({ signedIn: page }) => {
  await page.goto("/plans/pln_stale");
  await expect(page.getByText("stead plan /srv/shop")).toBeVisible();
  await expect(page.getByRole("button", { name: "Apply" })).toHaveCount(0);
});
