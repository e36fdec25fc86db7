// What the shop does when something goes wrong: switched faults, crashes, lost services, shutdown.

import assert from "node:assert/strict";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { Customer, get, lacksEngines, send, Shop, until } from "./shop.mjs";

describe("switched faults", () => {
  let shop;
  before(async () => (shop = await Shop.start()));
  after(() => shop?.stop());
  const products = (user) => get(shop.url("catalog", "/products"), user ? { "x-user-id": user } : {});

  test("nobody without the token learns that there is a switch", async () => {
    for (const authorization of [undefined, "Bearer wrong", "Bearer "]) {
      const headers = authorization ? { authorization } : {};
      assert.equal((await send("PUT", shop.url("web", "/faults"), "error", headers)).status, 404);
    }
    assert.equal((await get(shop.url("web", "/"))).status, 200);
  });

  test("a spec that makes no sense changes nothing and says why", async () => {
    await shop.faults("catalog", "latency:1ms");
    for (const text of ["latency", "latency:5", "error:2", "leak:lots", "lateny:1ms", "error:0.5@", `error,${"x".repeat(2_000)}`]) {
      const answer = await shop.faults("catalog", text);
      assert.equal(answer.status, 400, text);
      assert.match(answer.body.message, /fault/);
    }
    assert.equal((await shop.faults("catalog", "")).body.faults, "");
  });

  test("latency for all requests, and health checks without it", async () => {
    await shop.faults("catalog", "latency:150ms");
    let began = performance.now();
    assert.equal((await products()).status, 200);
    assert.ok(performance.now() - began >= 149);
    began = performance.now();
    assert.equal((await get(shop.url("catalog", "/live"))).status, 200);
    assert.ok(performance.now() - began < 149);
    await shop.faults("catalog", "");
  });

  test("errors for a share of all requests", async () => {
    await shop.faults("catalog", "error:0.5");
    const answers = await Promise.all(Array.from({ length: 200 }, () => products()));
    const failed = answers.filter((one) => one.status === 500).length;
    // Six standard deviations around 100.
    assert.ok(failed > 57 && failed < 143, `${failed} of 200 failed`);
    await shop.faults("catalog", "");
  });

  test("errors for a share of the users hit always the same users", async () => {
    await shop.faults("catalog", "error-user:0.3");
    const users = Array.from({ length: 60 }, (_, at) => `u-${at}`);
    const round = async () => (await Promise.all(users.map(products))).map((one) => one.status).join();
    const first = await round();
    assert.equal(await round(), first);
    assert.match(first, /500/);
    assert.match(first, /200/);
    assert.equal((await products()).status, 200, "who is nobody has no share");
    await shop.faults("catalog", "");
  });

  test("memory grows while it leaks and is given back after", async () => {
    const resident = () => {
      const status = readFileSync(`/proc/${shop.process("payments").pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024;
    };
    const before = resident();
    await shop.faults("payments", "leak:100MiB/s");
    await until("memory has grown by 60 MiB", () => resident() - before > 60 * 1024 ** 2);
    await shop.faults("payments", "");
  });

  test("a whole hang takes the health checks along, and ends when switched off", async () => {
    await shop.faults("cart", "hang");
    await assert.rejects(get(shop.url("cart", "/live"), {}, 200), /no answer/);
    await shop.faults("cart", "");
    assert.equal((await get(shop.url("cart", "/live"))).status, 200);
  });

  test("a hanging neighbour costs its callers a bounded time and a clear answer", async () => {
    await shop.faults("cart", "hang@0.999999");
    const began = performance.now();
    const answer = await new Customer(shop, "u-waits").get("/cart");
    assert.deepEqual([answer.status, answer.body.message], [504, "cart did not answer in time"]);
    assert.ok(performance.now() - began < 4_000);
    await shop.faults("cart", "");
  });

  test("crash ends the process, crash-at-start before it listens", async () => {
    await shop.faults("catalog", "crash:after=50ms");
    assert.equal((await shop.process("catalog").exited).code, 70);
    const child = await shop.run("catalog", { env: { FAULTS: "crash-at-start" }, ready: false });
    assert.equal((await child.exited).code, 70);
    await shop.run("catalog");
    assert.equal((await products()).status, 200);
  });

  test("without FAULTS_TOKEN a service makes one that only its user may read", async () => {
    await shop.end("catalog", "SIGTERM");
    await shop.run("catalog", { env: { FAULTS_TOKEN: "" } });
    const file = join(shop.dir, "catalog", "faults-token");
    assert.equal(statSync(file).mode & 0o777, 0o600);
    const authorization = `Bearer ${readFileSync(file, "utf8")}`;
    assert.equal((await send("PUT", shop.url("catalog", "/faults"), "error", { authorization })).status, 200);
    assert.equal((await products()).status, 500);
    assert.equal((await send("DELETE", shop.url("catalog", "/faults"), undefined, { authorization })).status, 200);
    assert.equal((await products()).status, 200);
  });
});

describe("the life of a service", () => {
  test("SIGTERM finishes what was begun and then exits with 0", async () => {
    const shop = await Shop.start();
    try {
      await shop.faults("catalog", "latency:700ms");
      const slow = get(shop.url("catalog", "/products"));
      await until("the request is under way", async () => (await get(shop.url("catalog", "/live"))).status === 200);
      const ended = shop.end("catalog", "SIGTERM");
      await until("it is not ready any more", async () => (await get(shop.url("catalog", "/ready"))).status === 503);
      assert.equal((await slow).status, 200);
      assert.deepEqual(await ended, { code: 0, signal: null });
    } finally {
      await shop.stop();
    }
  });

  test("a port in use, a missing binding and nonsense end it at once with the reason", async () => {
    const shop = await Shop.start();
    try {
      for (const [env, words] of [
        [{}, /EADDRINUSE/],
        [{ CART_URL: "" }, /CART_URL is not set/],
        [{ PORT: "many" }, /PORT is "many"/],
        [{ FAULTS: "eror" }, /"eror" is not known/],
      ]) {
        const child = await shop.run("web", { env, ready: false });
        assert.equal((await child.exited).code, 1);
        assert.match(shop.logs.get("web").at(-1).error, words);
      }
    } finally {
      await shop.stop();
    }
  });

  test("without its database checkout is alive, not ready, and recovers by itself", { skip: lacksEngines() }, async () => {
    const shop = await Shop.start({ profile: "platform" });
    try {
      const real = shop.bindings.database;
      await shop.end("checkout", "SIGTERM");
      await shop.run("checkout", { env: { DATABASE_URL: real.replace(/:\d+\/postgres/, ":9/postgres") }, ready: false });
      await until("it is alive", async () => (await get(shop.url("checkout", "/live"))).status === 200);
      const ready = await get(shop.url("checkout", "/ready"));
      assert.equal(ready.status, 503);
      assert.match((await until("the reason is known", async () => {
        const { body } = await get(shop.url("checkout", "/ready"));
        return body.message !== "starting" && body;
      })).message, /ECONNREFUSED/);
      await shop.end("checkout", "SIGKILL");
      await shop.run("checkout");
    } finally {
      await shop.stop();
    }
  });
});
