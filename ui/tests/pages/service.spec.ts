import { expect, test } from "../fixture";

test("the overview shows traffic, replicas with their limits and exits, log and changes", async ({ signedIn: page }) => {
  await page.goto("/services/payments");
  await expect(page.getByRole("img", { name: /^Requests\. answered: now/ })).toBeVisible();
  await expect(page.getByRole("img", { name: /^Latency\. p50: now .* p99: now/ })).toBeVisible();
  const replicas = page.getByRole("region", { name: "Replicas, table" });
  await expect(replicas).toContainText("of 256 MiB");
  await expect(replicas).toContainText("exit code 3: provider key rejected");
  await expect(replicas).toContainText("readiness, failed 4 times");
  await expect(page.getByRole("region", { name: "Latest changes" })).toContainText("Service degraded");
});

test("restart says what will happen, asks why, and the answer stands in the changes", async ({ signedIn: page, backend }) => {
  await page.goto("/services/checkout");
  await page.getByRole("button", { name: "Restart" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog).toContainText("2 new replicas of release 14 are started");
  await expect(dialog).toContainText("requests go on being answered");
  await dialog.getByLabel("Why").fill("it leaks memory");
  await dialog.getByRole("button", { name: "Restart" }).click();
  await expect(dialog).toHaveCount(0);
  await expect(page.getByText("checkout restarts")).toBeVisible();
  await expect(page.getByRole("region", { name: "Latest changes" })).toContainText("it leaks memory");
  expect(backend.world.events.at(-1)?.kind).toBe("stead.service.restarted.v1");
});

test("scale previews the difference and warns when nobody would answer", async ({ signedIn: page, backend }) => {
  await page.goto("/services/web");
  await page.getByRole("button", { name: "Scale" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog.getByRole("button", { name: "Scale to 3" })).toBeDisabled();
  await dialog.getByLabel("Replicas").fill("0");
  await expect(dialog).toContainText("Whoever calls it then gets 503");
  await dialog.getByLabel("Replicas").fill("5");
  await expect(dialog).toContainText("2 new replicas of web are started. Together they may take up to 512 MiB more.");
  await dialog.getByRole("button", { name: "Scale to 5" }).click();
  await expect(dialog).toHaveCount(0);
  expect(backend.world.find("web")?.wanted).toBe(5);
});

test("a new password is a plan that is read first and applied there", async ({ signedIn: page, backend }) => {
  await page.goto("/services/checkout.db");
  await page.getByRole("button", { name: "New password" }).click();
  await expect(page).toHaveURL(/\/plans\//);
  await expect(page.getByText("the old one works until every replica has the new one")).toBeVisible();
  await expect(page.getByText("its replicas are replaced in turn")).toBeVisible();
  expect(backend.world.runs.some((run) => run.plan === backend.world.plans[0]?.id)).toBe(false);
  await page.getByRole("button", { name: "Apply" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Apply" }).click();
  await expect.poll(() => backend.world.plans[0]?.state).toBe("applied");
});

test("a refused change keeps the dialog and says why", async ({ signedIn: page, backend }) => {
  await page.goto("/services/web");
  await page.getByRole("button", { name: "Restart" }).click();
  backend.fail(/restart$/);
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Restart" }).click();
  await expect(dialog.getByRole("alert")).toContainText("The state database is locked by another process.");
  await expect(dialog.getByRole("alert")).toContainText("stead doctor");
});

test("the log follows, pauses, searches with marks and jumps to the newest", async ({ signedIn: page }) => {
  await page.goto("/services/web/logs");
  const log = page.getByRole("log");
  const lines = log.locator("time");
  await expect.poll(() => lines.count()).toBeGreaterThan(300);
  const before = await lines.count();
  await expect.poll(() => lines.count()).toBeGreaterThan(before);
  // It stays at the newest line.
  await expect.poll(() => log.evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight)).toBeLessThan(60);

  await log.focus();
  await page.keyboard.press("Space");
  await expect(page.getByRole("status").filter({ hasText: "Paused" })).toContainText(/[1-9]\d* lines? waiting/);
  const held = await lines.count();
  await expect(page.getByRole("button", { name: /Newest \(\d+\)/ })).toBeVisible();
  expect(await lines.count()).toBe(held);
  await page.getByRole("button", { name: /Newest/ }).click();
  await expect.poll(() => lines.count()).toBeGreaterThan(held);

  await page.keyboard.press("/");
  await page.keyboard.type("provider answered");
  await expect(page).toHaveURL(/contains=provider/);
  await expect(log.locator("mark").first()).toHaveText("provider answered");
  await expect(log.locator("[data-stream=stdout]")).toHaveCount(0);
  await expect(log.getByText("err", { exact: true }).first()).toBeVisible();
});

test("a log that was cut off goes on without repeating itself", async ({ signedIn: page, backend }) => {
  await page.goto("/services/web/logs");
  const lines = page.getByRole("log").locator("time");
  await expect.poll(() => lines.count()).toBeGreaterThan(300);
  backend.cut(true);
  await expect(page.getByRole("status").filter({ hasText: "Reconnecting…" }).first()).toBeVisible();
  backend.cut(false);
  const before = await lines.count();
  await expect.poll(() => lines.count(), { timeout: 15_000 }).toBeGreaterThan(before);
  expect(await lines.count()).toBeLessThan(before + 200);
});

test("configuration and releases show what is in force and what differs", async ({ signedIn: page }) => {
  await page.goto("/services/checkout/configuration");
  await expect(page.getByLabel("Definition", { exact: true })).toContainText("memory: 256MiB");
  await expect(page.getByText("DATABASE_URL, PGHOST, PGPORT")).toBeVisible();
  await page.getByRole("tab", { name: "Releases" }).click();
  await expect(page).toHaveURL(/\/releases$/);
  await expect(page.getByText("never became ready")).toBeVisible();
  await page.getByRole("button", { name: "Compare with 12" }).click();
  await expect(page.getByLabel("What differs")).toContainText("e7702b1cd44af");
  await expect(page.getByLabel("What differs").locator('[data-sign="-"]').first()).toContainText("tier: development");
});

test("the log shows the runs of a job instead", async ({ signedIn: page }) => {
  await page.goto("/services/checkout/logs?job=nightly-report");
  await expect(page.getByRole("log")).toContainText("run of nightly-report");
  await expect(page.getByRole("log").locator("time")).toHaveCount(1);
  await page.goto("/services/nightly-report/logs");
  await expect(page.getByRole("log")).toContainText("run of main");
});

test("a job service runs now, after a preview", async ({ signedIn: page, backend }) => {
  await page.goto("/services/nightly-report");
  await page.getByRole("button", { name: "Run now" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog).toContainText("The job main of nightly-report is started once");
  await dialog.getByRole("button", { name: "Run now" }).click();
  await expect(dialog).toHaveCount(0);
  expect(backend.world.events.at(-1)?.kind).toBe("stead.job.ended.v1");
});

test("a command runs beside a replica and shows how it ended", async ({ signedIn: page }) => {
  await page.goto("/services/web/command");
  const run = page.getByRole("button", { name: "Run", exact: true });
  await expect(run).toBeDisabled();
  await page.getByRole("textbox", { name: "Command" }).fill("echo 'two words' open\"");
  await expect(page.getByText("A quote is still open.")).toBeVisible();
  await expect(run).toBeDisabled();
  await page.getByRole("textbox", { name: "Command" }).fill("echo 'two  words' end");
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("stdout")).toHaveText("two  words end");
  await expect(page.getByRole("region", { name: "Outcome" })).toContainText("Exit status 0");
  await page.getByRole("textbox", { name: "Command" }).fill("no-such-thing");
  await run.click();
  await expect(page.getByRole("region", { name: "Outcome" })).toContainText("Exit status 127");
  await expect(page.getByLabel("stderr")).toContainText("not found");
});

test("what is not there says so", async ({ signedIn: page }) => {
  await page.goto("/services/ghost");
  await expect(page.getByRole("heading", { name: "There is no ghost in default" })).toBeVisible();
  await page.goto("/no/such/page");
  await expect(page.getByRole("heading", { name: "There is no page here" })).toBeVisible();
});
