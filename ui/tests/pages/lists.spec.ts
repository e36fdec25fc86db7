import { readFile } from "node:fs/promises";
import { expect, test } from "../fixture";

test("services filter, search, sort and export what is shown", async ({ signedIn: page }) => {
  await page.goto("/services");
  const rows = page.getByRole("region", { name: "Services, table" }).getByRole("row");
  await expect(rows).toHaveCount(10);
  await expect(rows.nth(1)).toContainText("payments");
  await page.keyboard.press("/");
  await page.keyboard.type("postgresql");
  await expect(rows).toHaveCount(3);
  await expect(page.getByText("2 of 9 services")).toBeVisible();
  await expect(page).toHaveURL(/q=postgresql/);

  await page.getByRole("button", { name: "Export Services" }).click();
  const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("menuitem", { name: "CSV" }).click()]);
  expect(file.suggestedFilename()).toMatch(/^stead-services-.*\.csv$/);
  const csv = await readFile(await file.path(), "utf8");
  expect(csv.split("\r\n")).toHaveLength(4);
  expect(csv).toContain("checkout.db");

  await page.getByLabel("Search services").fill("nothing of this name");
  await page.getByRole("button", { name: "Clear the filters" }).click();
  await expect(rows).toHaveCount(10);
});

test("a list that cannot be read says why and tries again", async ({ signedIn: page, backend }) => {
  backend.fail(/^\/services$/);
  await page.goto("/services");
  const alert = page.getByRole("alert");
  await expect(alert).toContainText("The services could not be read");
  await expect(alert).toContainText("Look for a second server: stead doctor.");
  backend.fail();
  await alert.getByRole("button", { name: "Try again" }).click();
  await expect(page.getByRole("link", { name: "checkout", exact: true })).toBeVisible();
});

test("a list that is being read shows its outline", async ({ signedIn: page, backend }) => {
  backend.stall(/^\/plans$/);
  await page.goto("/plans");
  await expect(page.getByLabel("Reading")).toBeVisible();
});
