import { enter, expect, test } from "../fixture";

test("an invitation makes a link that is shown once and works once", async ({ signedIn: page, backend, browser }) => {
  await page.goto("/access");
  await page.getByRole("button", { name: "Invite" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("ada");
  await dialog.getByLabel("Viewer").check();
  await dialog.getByRole("button", { name: "Make a sign-in link" }).click();
  const url = (await page.getByLabel("Sign-in link", { exact: true }).textContent()) ?? "";
  expect(url).toContain("/sign-in#");
  await page.keyboard.press("Escape");
  await expect(page.getByLabel("Sign-in link", { exact: true })).toBeVisible();
  await page.getByRole("button", { name: "I have it" }).click();
  await expect(page.getByRole("row", { name: /ada/ })).toContainText("viewer");
  expect(await page.content()).not.toContain(url);

  const other = await browser.newPage();
  await other.goto(url);
  await expect(other.getByRole("heading", { name: "Map", level: 1 })).toBeVisible();
  await other.close();
  const third = await browser.newPage();
  await third.goto(url);
  await expect(third.getByRole("alert").first()).toContainText("used before");
  await third.close();
  expect(backend.world.people.at(-1)?.name).toBe("ada");
});

test("a taken name is refused in the form", async ({ signedIn: page }) => {
  await page.goto("/access");
  await page.getByRole("button", { name: "Invite" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("mei");
  await page.getByRole("button", { name: "Make a sign-in link" }).click();
  await expect(page.getByRole("dialog").getByRole("alert")).toContainText("Somebody is called mei already");
});

test("somebody is deactivated after a preview; oneself cannot be", async ({ signedIn: page, backend }) => {
  await page.goto("/access");
  await page.getByRole("button", { name: "Actions for ines" }).click();
  await expect(page.getByRole("menuitem", { name: "Deactivate" })).toBeDisabled();
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Actions for mei" }).click();
  await page.getByRole("menuitem", { name: "Deactivate" }).click();
  await expect(page.getByRole("dialog")).toContainText("Their sessions end at once");
  await page.getByRole("dialog").getByRole("button", { name: "Deactivate" }).click();
  await expect(page.getByRole("row", { name: /^mei/ })).toContainText("Deactivated");
  expect(backend.world.people.find((person) => person.name === "mei")?.active).toBe(false);
});

test("a token is made with scopes, shown once, and revoked", async ({ signedIn: page, backend }) => {
  await page.goto("/access/tokens");
  await page.getByRole("button", { name: "Create a token" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("robot");
  await dialog.getByLabel("deploy").check();
  await dialog.getByRole("button", { name: "Create" }).click();
  const secret = await page.getByLabel("Token", { exact: true }).textContent();
  expect(secret).toMatch(/^stead_/);
  await page.getByRole("button", { name: "I have it" }).click();
  await expect(page.getByRole("row", { name: /robot/ })).toContainText("read, deploy");
  expect(backend.world.tokens[0]?.scopes).toEqual(["read", "deploy"]);
  await page.getByRole("button", { name: "Revoke robot" }).click();
  await expect(dialog).toContainText("It cannot be undone");
  await dialog.getByRole("button", { name: "Revoke" }).click();
  await expect(page.getByRole("row", { name: /robot/ })).toHaveCount(0);
});

test("a viewer's token is offered only what a viewer may", async ({ page, backend }) => {
  await enter(page, backend, "viewer-link");
  await page.goto("/access/tokens");
  await page.getByRole("button", { name: "Create a token" }).click();
  await expect(page.getByRole("dialog").getByLabel("read")).toBeVisible();
  await expect(page.getByRole("dialog").getByLabel("deploy")).toHaveCount(0);
});

test("a secret is set, never shown, and removed only when nobody uses it", async ({ signedIn: page }) => {
  await page.goto("/secrets");
  await page.getByRole("button", { name: "Set a secret" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("smtp-password");
  await page.getByRole("dialog").getByLabel("Value", { exact: true }).fill("a-canary-value");
  await expect(page.getByRole("dialog")).toContainText("Becomes version 3");
  await page.getByRole("dialog").getByRole("button", { name: "Set", exact: true }).click();
  await expect(page.getByRole("row", { name: /smtp-password/ })).toContainText("3");
  expect(await page.content()).not.toContain("a-canary-value");

  await page.getByRole("button", { name: "Actions for payment-provider-key" }).click();
  await page.getByRole("menuitem", { name: "Remove" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Remove" }).click();
  await expect(page.getByRole("dialog").getByRole("alert")).toContainText("used by payments");
});
