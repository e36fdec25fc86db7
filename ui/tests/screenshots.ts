import { startBackend } from "./backend/server";
import { enter, expect, test } from "./fixture";

const OUT = process.env.STEAD_SCREENSHOTS ?? "test-results/screenshots";

const PAGES: [string, string][] = [
  ["map", "/"],
  ["map-side", "/?on=payments"],
  ["map-list", "/?view=list"],
  ["services", "/services"],
  ["service", "/services/checkout"],
  ["service-degraded", "/services/payments"],
  ["service-logs", "/services/web/logs"],
  ["service-configuration", "/services/checkout/configuration"],
  ["service-releases", "/services/web/releases"],
  ["changes", "/changes"],
  ["changes-open", "/changes?subject=web&open=OPEN"],
  ["explore", "/explore"],
  ["explore-graph", "/explore?q=sum+by+(service)+(rate(stead_gateway_requests_total%5B1m%5D))&q=rate(up%5B1m%5D)&stack=1"],
  ["explore-compare", "/explore?q=up&compare=1d&span=6h"],
  ["explore-table", "/explore?q=up&view=table"],
  ["explore-refused", "/explore?q=sum((up)"],
  ["cardinality", "/explore/cardinality"],
  ["plans", "/plans"],
  ["plan", "/plans/pln_open"],
  ["run-undone", "/runs/run_failed"],
  ["secrets", "/secrets"],
  ["access", "/access"],
  ["tokens", "/access/tokens"],
  ["nowhere", "/nowhere"],
];

for (const scheme of ["light", "dark"] as const) {
  test.describe(scheme, () => {
    test.use({ colorScheme: scheme });
    const only = process.env.ONLY?.split(",");

    test("sign-in", async ({ page, backend }) => {
      await page.goto(`${backend.url}/sign-in`);
      await page.getByLabel("Name").waitFor();
      await page.screenshot({ path: `${OUT}/sign-in-${scheme}.png` });
    });
    for (const [name, path] of PAGES.filter(([each]) => !only || only.includes(each))) {
      test(name, async ({ signedIn: page, backend }) => {
        const opened = backend.world.events.findLast((event) => event.kind.includes("restored"))?.id ?? "";
        await page.goto(backend.url + path.replace("OPEN", opened));
        await page.waitForLoadState("load");
        await expect(page.locator("[aria-busy=true]")).toHaveCount(0);
        await page.waitForTimeout(900);
        await page.screenshot({ path: `${OUT}/${name}-${scheme}.png`, fullPage: !["service-logs", "changes", "changes-open"].includes(name) });
      });
    }
    test("narrow", async ({ signedIn: page, backend }) => {
      await page.setViewportSize({ width: 390, height: 844 });
      for (const [name, path] of PAGES.filter(([each]) => ["map", "service", "changes", "plan"].includes(each))) {
        await page.goto(backend.url + path);
        await expect(page.locator("[aria-busy=true]")).toHaveCount(0);
        await page.waitForTimeout(700);
        await page.screenshot({ path: `${OUT}/narrow-${name}-${scheme}.png` });
      }
    });
    test("empty", async ({ page }) => {
      const backend = await startBackend({ empty: true });
      await enter(page, backend);
      await page.waitForTimeout(500);
      await page.screenshot({ path: `${OUT}/empty-map-${scheme}.png` });
      await page.goto(`${backend.url}/services`);
      await page.waitForTimeout(500);
      await page.screenshot({ path: `${OUT}/empty-services-${scheme}.png` });
      await backend.close();
    });
    test("failing", async ({ signedIn: page, backend }) => {
      backend.fail(/^\/services$/);
      backend.cut(true);
      await page.goto(`${backend.url}/services`);
      await page.getByText("Try again").waitFor();
      await page.screenshot({ path: `${OUT}/failing-${scheme}.png` });
    });
  });
}
