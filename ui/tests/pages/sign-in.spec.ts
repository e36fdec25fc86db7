import { enter, expect, test } from "../fixture";

test("a one-time link signs in and leaves no trace in the address", async ({ page, backend }) => {
  await enter(page, backend);
  expect(page.url()).not.toContain(backend.link);
  await page.goBack();
  expect(page.url()).not.toContain(backend.link);
});

test("a used link says so and what to do, and a password still works", async ({ page, backend }) => {
  await page.goto("/sign-in#used-before");
  const alert = page.getByRole("alert");
  await expect(alert).toContainText("used before");
  await expect(alert).toContainText("Ask an admin for a new one");
  await page.getByLabel("Name").fill("ines");
  await page.getByLabel("Password", { exact: true }).fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("alert")).toContainText("do not fit");
  await page.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("heading", { name: "Map", level: 1 })).toBeVisible();
  expect(backend.url).toBeTruthy();
});

test("who is signed out comes back to the page they wanted, and never to another site", async ({ page }) => {
  await page.goto("/services/checkout/logs");
  await expect(page).toHaveURL(/\/sign-in\?to=/);
  await page.getByLabel("Name").fill("ines");
  await page.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page).toHaveURL(/\/services\/checkout\/logs/);

  await page.getByRole("button", { name: /Account of/ }).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await expect(page).toHaveURL(/\/sign-in/);
  await page.goto("/sign-in?to=//elsewhere.example/");
  await page.getByLabel("Name").fill("ines");
  await page.getByLabel("Password", { exact: true }).fill("correct horse battery");
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("heading", { name: "Map", level: 1 })).toBeVisible();
});

test("a viewer is offered nothing that would be refused", async ({ page, backend }) => {
  await enter(page, backend, "viewer-link");
  await page.goto("/services/checkout");
  await expect(page.getByRole("heading", { name: "Replicas" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Restart" })).toHaveCount(0);
  await page.goto("/plans/pln_open");
  await expect(page.getByRole("heading", { name: "Create 2" })).toBeVisible();
  await expect(page.getByRole("button", { name: "Apply" })).toHaveCount(0);
});
