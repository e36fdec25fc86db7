import { expect, test } from "../fixture";

test("a walk by keyboard alone: from the map to a restart and on to its change", async ({ signedIn: page, backend }) => {
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the content" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.locator("#main")).toBeFocused();

  for (const [key, title] of [["s", "Services"], ["c", "Changes"], ["p", "Plans"], ["x", "Secrets"], ["a", "Access"], ["m", "Map"]] as const) {
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    await expect(page.getByRole("heading", { name: title, level: 1 })).toBeVisible();
  }

  await page.keyboard.press("Control+k");
  await page.keyboard.type("checkout");
  await expect(page.getByRole("dialog").getByText("Takes orders, exactly once")).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: /^checkout/, level: 1 })).toBeVisible();

  const restart = page.getByRole("button", { name: "Restart" });
  await restart.focus();
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("Why")).toBeFocused();
  await page.keyboard.type("by keyboard");
  await page.keyboard.press("Tab");
  await expect(page.getByRole("dialog").getByRole("button", { name: "Cancel" })).toBeFocused();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(restart).toBeFocused();
  expect(backend.world.events.at(-1)?.why).toBe("by keyboard");

  await page.keyboard.press("g");
  await page.keyboard.press("c");
  await expect(page.getByRole("heading", { name: "Changes", level: 1 })).toBeVisible();
  await page.keyboard.press("/");
  await expect(page.getByRole("combobox", { name: "Of what" })).toBeFocused();
  await page.keyboard.type("checkout");
  await page.keyboard.press("Escape");
  // The list is made anew once the filter is taken up; a row of the old one cannot keep the focus.
  await expect(page.getByRole("button", { name: /^[A-Z][a-z -]+, (?!checkout)[^,]+, by / })).toHaveCount(0);
  const entry = page.getByRole("button", { name: /^Service restarted, checkout/ });
  await entry.focus();
  await page.keyboard.press("Enter");
  await expect(entry).toHaveAttribute("aria-expanded", "true");
});

test("nodes of the map take the focus and open with Enter", async ({ signedIn: page }) => {
  const node = page.getByRole("group", { name: /^payments,/ });
  await node.focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "payments", level: 2 })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("complementary", { name: "About payments" })).toHaveCount(0);
});

test("keys do nothing while one types, and ? lists them", async ({ signedIn: page }) => {
  await page.goto("/services");
  await expect(page.getByLabel("Search services")).toBeVisible();
  await page.keyboard.press("/");
  await page.keyboard.type("g s ?");
  await expect(page.getByLabel("Search services")).toHaveValue("g s ?");
  await page.keyboard.press("Tab");
  await page.getByRole("heading", { level: 1 }).click();
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog", { name: "Keys" })).toContainText("Go to Changes");
});

test("light and dark are chosen by hand and kept", async ({ signedIn: page }) => {
  const scheme = () => page.locator("html").getAttribute("data-mantine-color-scheme");
  expect(await scheme()).toBe("light");
  await page.getByRole("button", { name: /Account of/ }).click();
  await page.getByRole("menuitem", { name: "Dark", exact: true }).click();
  await expect.poll(scheme).toBe("dark");
  await page.reload();
  await expect(page.getByRole("heading", { name: "Map", level: 1 })).toBeVisible();
  expect(await scheme()).toBe("dark");
});
