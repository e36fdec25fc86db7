import { expect, test, type Page } from "@playwright/test";

/**
 * The key flows against a real server that delivers `examples/shop`:
 * STEAD_URL (of the interface), STEAD_LINK (a one-time sign-in link or its part after `#`),
 * STEAD_SHOP_URL (of the shop, through the gateway).
 */
const { STEAD_URL = "", STEAD_LINK = "", STEAD_SHOP_URL = "" } = process.env;
const SERVICES = ["web", "catalog", "cart", "checkout", "payments"];

test.describe.configure({ mode: "serial" });

let page: Page;
const complaints: string[] = [];

test.beforeAll(async ({ browser }) => {
  for (const [name, value] of Object.entries({ STEAD_URL, STEAD_LINK, STEAD_SHOP_URL })) expect(value, `${name} is set`).not.toBe("");
  page = await browser.newPage({ baseURL: STEAD_URL });
  page.on("pageerror", (problem) => complaints.push(String(problem)));
  page.on("console", (message) => {
    if (message.type() === "error" && !/Failed to load resource|net::ERR_/.test(message.text())) complaints.push(message.text());
  });
});
test.afterAll(async () => {
  await page?.close();
  expect(complaints, "errors in the browser's console").toEqual([]);
});

test("the one-time link signs in", async () => {
  const word = STEAD_LINK.includes("#") ? STEAD_LINK.slice(STEAD_LINK.indexOf("#") + 1) : STEAD_LINK;
  await page.goto(`/sign-in#${word}`);
  await expect(page.getByRole("heading", { name: "Map", level: 1 })).toBeVisible();
  expect(page.url()).not.toContain(word);
});

test("the map shows the services of the shop", async () => {
  for (const name of SERVICES) await expect(page.getByRole("group", { name: new RegExp(`^${name}, Service, healthy`) })).toBeVisible({ timeout: 30_000 });
});

test("an order through the gateway shows up as traffic", async ({ request, browser }) => {
  for (let at = 0; at < 20; at += 1) expect((await request.get(STEAD_SHOP_URL)).ok()).toBe(true);
  const shop = await browser.newPage();
  await shop.goto(STEAD_SHOP_URL);
  await order(shop);
  await shop.close();
  await expect(page.getByRole("group", { name: /^web, .*(?<!\b0) requests per second/ })).toBeVisible({ timeout: 30_000 });
  await page.goto("/services/checkout");
  await expect(page.getByRole("img", { name: /^Requests\. answered: now .*, at most (?!0\/s)/ })).toBeVisible({ timeout: 30_000 });
});

test("the log of a service is followed", async () => {
  await page.goto("/services/web/logs");
  await expect.poll(() => page.getByRole("log").locator("time").count(), { timeout: 20_000 }).toBeGreaterThan(0);
});

test("a restart stands in the changes with its reason", async () => {
  await page.goto("/services/cart");
  const why = `a test at ${Date.now()}`;
  await page.getByRole("button", { name: "Restart" }).click();
  await page.getByLabel("Why").fill(why);
  await page.getByRole("dialog").getByRole("button", { name: "Restart" }).click();
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await page.goto("/changes?subject=cart");
  const entry = page.getByRole("button", { name: /^Service restarted, cart/ }).first();
  await expect(entry).toContainText(why, { timeout: 20_000 });
  await entry.click();
  await expect(entry).toHaveAttribute("aria-expanded", "true");
  await page.goto("/services/cart");
  await expect(page.getByRole("heading", { name: /^cart/, level: 1 })).toContainText("Healthy", { timeout: 60_000 });
});

test("the ledger is intact", async () => {
  await page.goto("/changes");
  await page.getByRole("button", { name: "Verify the ledger" }).click();
  await expect(page.getByRole("dialog")).toContainText("Intact");
});

test("a token is made, lets a program in, and is revoked", async ({ request }) => {
  await page.goto("/access/tokens");
  await page.getByRole("button", { name: "Create a token" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("playwright");
  await page.getByRole("dialog").getByRole("button", { name: "Create" }).click();
  const secret = (await page.getByLabel("Token", { exact: true }).textContent()) ?? "";
  await page.getByRole("button", { name: "I have it" }).click();
  const asked = () => request.get(`${STEAD_URL}/api/stead/v1/services`, { headers: { authorization: `Bearer ${secret}` } });
  expect((await asked()).status()).toBe(200);
  await page.getByRole("button", { name: "Revoke playwright" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await expect(page.getByRole("row", { name: /playwright/ })).toHaveCount(0);
  expect((await asked()).status()).toBe(401);
});

/** Buys the first thing the shop shows. */
async function order(shop: Page): Promise<void> {
  await shop.getByRole("button", { name: /^Add .* to the cart$/ }).first().click();
  await expect(shop.getByRole("link", { name: "Your cart" })).toContainText("1");
  await shop.goto(new URL("/checkout", STEAD_SHOP_URL).href);
  await shop.getByLabel("Name").fill("A Tester");
  await shop.getByLabel("Street and number").fill("Long Lane 1");
  await shop.getByLabel("Postcode and town").fill("12345 Town");
  await shop.getByRole("button", { name: /^Pay/ }).click();
  await expect(shop.getByRole("heading", { name: /on its way|still settling/ })).toBeVisible({ timeout: 20_000 });
}
