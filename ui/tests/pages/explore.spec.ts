import { expect, test } from "../fixture";

test("an expression is typed, asked, drawn, and stands in the address", async ({ signedIn: page }) => {
  await page.goto("/explore");
  const editor = page.getByRole("textbox", { name: "Expression 1" });
  await editor.click();
  await page.keyboard.type("sum by (service) (up");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Control+Enter");
  await expect(page.getByRole("img", { name: /checkout.*last \d/ })).toBeVisible();
  await expect(page).toHaveURL(/q=sum\+by/);
  await page.getByRole("button", { name: /service="checkout"/ }).click();
  await expect(page.getByRole("button", { name: /service="checkout"/ })).toHaveAttribute("aria-pressed", "true");
});

test("names are completed while one types", async ({ signedIn: page }) => {
  await page.goto("/explore");
  await page.getByRole("textbox", { name: "Expression 1" }).click();
  await page.keyboard.type("stead_gate");
  await expect(page.getByRole("option", { name: /stead_gateway_requests_total/ })).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("textbox", { name: "Expression 1" })).toContainText("stead_gateway_requests_total");
});

test("what is wrong is said in the server's words, and an empty answer too", async ({ signedIn: page }) => {
  await page.goto("/explore?q=sum((up)");
  await expect(page.getByRole("alert")).toContainText("unclosed left parenthesis");
  await page.goto("/explore?q=nothing");
  await expect(page.getByText("No series in this time")).toBeVisible();
  await page.goto("/explore?q=rate(up%5B5m%5D)");
  await expect(page.getByText("might not be a counter")).toBeVisible();
});

test("dragging zooms in, and the way back leads out", async ({ signedIn: page }) => {
  await page.goto("/explore?q=up");
  const graph = page.getByRole("img", { name: /^up\./ });
  await expect(graph).toBeVisible();
  const box = (await graph.boundingBox())!;
  await page.mouse.move(box.x + box.width * 0.4, box.y + 100);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 100, { steps: 5 });
  await page.mouse.up();
  await expect(page).toHaveURL(/end=\d+/);
  await expect(page.getByRole("button", { name: /^until \d/ })).toBeVisible();
  await page.goBack();
  await expect(page.getByRole("button", { name: "until now" })).toBeVisible();
});

test("an earlier time is drawn beside, and a second query below", async ({ signedIn: page }) => {
  await page.goto("/explore?q=up&compare=1d");
  await expect(page.getByRole("button", { name: /before/ }).first()).toBeVisible();
  await page.getByRole("button", { name: "Add a query" }).click();
  await expect(page.getByRole("textbox", { name: "Expression 2" })).toBeVisible();
  await page.getByRole("button", { name: "Remove query 2" }).click();
  await expect(page.getByRole("textbox", { name: "Expression 2" })).toHaveCount(0);
});

test("the table shows the newest values, largest first, and a histogram as bars", async ({ signedIn: page }) => {
  await page.goto("/explore?q=up&view=table");
  const cells = page.getByRole("row").locator("td:last-child");
  await expect(cells).toHaveCount(5);
  const values = await cells.allTextContents();
  expect(values.map(Number)).toEqual(values.map(Number).toSorted((a, b) => b - a));
  await page.goto("/explore?q=histogram&view=table");
  await expect(page.getByText("23 observations")).toBeVisible();
});

test("examples lead to a question, and cardinality names what makes the series", async ({ signedIn: page }) => {
  await page.goto("/explore");
  await page.getByRole("button", { name: /^Requests per second/ }).click();
  await expect(page).toHaveURL(/q=/);
  await page.getByRole("tab", { name: "Cardinality" }).click();
  await expect(page.getByText("1,204")).toBeVisible();
  await expect(page.getByRole("region", { name: "Values by label" })).toContainText("route");
});
