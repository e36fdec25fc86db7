import { startBackend } from "../backend/server";
import { enter, expect, test } from "../fixture";

test("services, needs and calls stand on the map with their figures", async ({ signedIn: page }) => {
  const map = page.getByLabel("Map of services and the calls between them");
  for (const name of ["web", "catalog", "cart", "checkout", "payments", "checkout.db", "cart.cache", "nightly-report"]) {
    await expect(map.getByRole("group", { name: new RegExp(`^${name.replace(".", "\\.")},`) })).toBeVisible();
  }
  await expect(map.getByRole("group", { name: /^payments, Service, degraded, 1 of 2 ready/ })).toBeVisible();
  await expect(map.getByText(/3\.1 % err/).first()).toBeVisible();
});

test("a node opens a panel with its callers, and from there its page", async ({ signedIn: page }) => {
  await page.getByRole("group", { name: /^payments,/ }).click();
  const side = page.getByRole("complementary", { name: "About payments" });
  await expect(side).toContainText("1 of 2 ready");
  await expect(side.getByRole("button", { name: /^checkout/ })).toBeVisible();
  await expect(page).toHaveURL(/on=payments/);
  await page.keyboard.press("Escape");
  await expect(side).toHaveCount(0);
  await page.getByRole("group", { name: /^checkout, / }).click();
  await page.getByRole("link", { name: "Open", exact: true }).click();
  await expect(page.getByRole("heading", { name: /^checkout/, level: 1 })).toBeVisible();
});

test("a change of health arrives by itself", async ({ signedIn: page, backend }) => {
  await expect(page.getByRole("group", { name: /^payments, Service, degraded/ })).toBeVisible();
  backend.world.scale("payments", 3, "user:per_ines");
  await expect(page.getByRole("group", { name: /^payments, Service, healthy, 3 of 3 ready/ })).toBeVisible();
});

test("the list says the same, sorts, and keeps its state in the address", async ({ signedIn: page }) => {
  await page.getByText("List", { exact: true }).click();
  const things = page.getByRole("region", { name: "Things on the map", exact: true });
  await expect(things.getByRole("row").nth(1)).toContainText("payments");
  await things.getByRole("button", { name: "Requests/s" }).click();
  await things.getByRole("button", { name: "Requests/s" }).click();
  await expect(things.getByRole("row").nth(1)).toContainText("catalog");
  await expect(page).toHaveURL(/sort=-rps/);
  await page.reload();
  await expect(things.getByRole("row").nth(1)).toContainText("catalog");
});

test("an empty platform says how to begin", async ({ page }) => {
  const backend = await startBackend({ empty: true });
  await enter(page, backend);
  await expect(page.getByRole("heading", { name: "Nothing is delivered yet" })).toBeVisible();
  await expect(page.getByText("stead up PATH")).toBeVisible();
  await backend.close();
});

test("the first sight is the environment that has services, and another one is a choice away", async ({ page, backend }) => {
  backend.world.home = "staging";
  await enter(page, backend);
  await expect(page.getByRole("group", { name: /^web,/ })).toBeVisible();
  await expect(page.getByRole("combobox", { name: "Environment" })).toHaveValue("staging");
  await page.getByRole("combobox", { name: "Environment" }).click();
  await page.getByRole("option", { name: "default" }).click();
  await expect(page.getByRole("heading", { name: "Nothing is delivered yet" })).toBeVisible();
  await expect(page).toHaveURL(/environment=default/);
  await page.reload();
  await expect(page.getByRole("combobox", { name: "Environment" })).toHaveValue("default");
});

test("a lost connection shows, and is found again", async ({ signedIn: page, backend }) => {
  await expect(page.getByText("Live", { exact: false }).first()).toBeVisible();
  backend.cut(true);
  await expect(page.getByText("Reconnecting…")).toBeVisible();
  backend.cut(false);
  await expect(page.getByText("Reconnecting…")).toHaveCount(0, { timeout: 15_000 });
});
