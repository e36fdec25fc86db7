// Buying things end to end, the same tests on both profiles.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Customer, get, lacksEngines, send, Shop } from "./shop.mjs";

for (const [profile, skip] of [["embedded", false], ["platform", lacksEngines()]]) {
  describe(`buying on the ${profile} profile`, { skip }, () => {
    let shop;
    before(async () => (shop = await Shop.start({ profile })));
    after(() => shop?.stop());

    test("each service says which profile it is on", async () => {
      for (const name of ["catalog", "checkout", "cart"]) {
        assert.equal((await get(shop.url(name, "/info"))).body.profile, profile, name);
        assert.equal(shop.logs.get(name).find((line) => line.message === "listening").profile, profile, name);
      }
    });

    test("each service is ready within half a second of its own work", () => {
      for (const [name, lines] of shop.logs) {
        const { started_ms } = lines.find((line) => line.message === "listening");
        // Five services start on two busy cores here; alone each takes about 80 ms.
        assert.ok(started_ms < 2_000, `${name} took ${started_ms} ms`);
      }
    });

    test("browse, search, add, check out, confirmation, history", async () => {
      const ada = new Customer(shop, "u-ada");
      const all = (await ada.get("/browse")).body;
      assert.equal(all.total, 24);
      const found = (await ada.get("/browse?q=oolong+charcoal")).body.products;
      assert.deepEqual(found.map((one) => one.sku), ["old-road-oolong"]);
      assert.equal((await ada.get("/browse?category=pots")).body.total, 6);
      assert.equal((await ada.get("/browse?q=100%25")).body.total, 0, "% is not a wildcard");

      assert.equal((await ada.add("old-road-oolong", 2)).body.count, 2);
      assert.equal((await ada.add("morning-mug")).body.count, 3);
      const bought = await ada.buy();
      assert.equal(bought.status, 201);
      const { order } = bought.body;
      assert.equal(order.state, "paid");
      assert.equal(order.total_cents, 2 * 1790 + 2400);
      assert.match(order.approval, /^[0-9a-f]{8}$/);

      const kept = (await ada.get(`/orders/${order.id}`)).body.order;
      assert.deepEqual(kept.lines.map(({ sku, quantity }) => [sku, quantity]).sort(), [["morning-mug", 1], ["old-road-oolong", 2]]);
      assert.deepEqual((await ada.get("/orders")).body.orders.map((one) => one.id), [order.id]);
      assert.equal((await ada.get("/cart")).body.count, 0, "the cart is empty after the sale");
    });

    test("the pages of a browser without scripts lead from a product to its order", async () => {
      const cookie = "shop_user=u-browser";
      const form = (path, fields) =>
        send("POST", shop.url("web", path), new URLSearchParams(fields).toString(), { cookie, "content-type": "application/x-www-form-urlencoded" });
      const page = (path) => get(shop.url("web", path), { cookie, accept: "text/html" });

      assert.match((await page("/products/fog-mug")).text, /<h1>Fog Mug<\/h1>/);
      const added = await form("/cart/items", { sku: "fog-mug", quantity: "2" });
      assert.deepEqual([added.status, added.headers.location], [303, "/cart"]);
      assert.match((await page("/cart")).text, /€48\.00/);
      const checkout = await page("/checkout");
      const key = /name="key" value="([^"]+)"/.exec(checkout.text)[1];
      const wish = { key, name: `<b>"Eve"</b>`, address: "1 Way", city: "Here", card: "4000000000000002" };
      const declined = await form("/checkout", wish);
      assert.equal(declined.status, 402);
      assert.match(declined.text, /The card was declined/);
      assert.doesNotMatch(declined.text, /<b>"Eve"/, "what a visitor types is escaped");
      const again = /name="key" value="([^"]+)"/.exec(declined.text)[1];
      assert.notEqual(again, key);
      const done = await form("/checkout", { ...wish, key: again, card: "4242 4242 4242 4242" });
      assert.equal(done.status, 303);
      assert.match((await page(done.headers.location)).text, /Thank you, it’s on its way/);
      assert.match((await page("/orders")).text, /Declined/);
    });

    test("a repeated checkout is the same order and one charge", async () => {
      const bob = new Customer(shop, "u-bob");
      await bob.add("oak-tray");
      const key = "bob-presses-twice";
      const [first, ...others] = await Promise.all(Array.from({ length: 5 }, () => bob.buy({ key })));
      for (const one of others) assert.equal(one.body.order.id, first.body.order.id);
      const later = await bob.buy({ key });
      assert.deepEqual([later.status, later.body.order.id], [200, first.body.order.id]);
      assert.equal((await bob.get("/orders")).body.orders.length, 1);
      const charge = await get(shop.url("payments", `/charges/${first.body.order.id}`));
      assert.equal(charge.body.charge.amount_cents, 4600);
    });

    test("a sale empties only the cart that was sold", async () => {
      const cleo = "u-cleo";
      await send("POST", shop.url("cart", `/carts/${cleo}/items`), { sku: "fog-mug", quantity: 1 });
      const { version } = (await get(shop.url("cart", `/carts/${cleo}`))).body;
      await send("POST", shop.url("cart", `/carts/${cleo}/items`), { sku: "oak-tray", quantity: 1 });
      const settled = await send("POST", shop.url("cart", `/carts/${cleo}/settle`), { version });
      assert.equal(settled.body.emptied, false);
      assert.equal((await get(shop.url("cart", `/carts/${cleo}`))).body.lines.length, 2);
    });

    test("nobody sees somebody else's order", async () => {
      const dan = new Customer(shop, "u-dan");
      await dan.add("fog-mug");
      const { order } = (await dan.buy()).body;
      const eve = new Customer(shop, "u-eve");
      assert.equal((await eve.get(`/orders/${order.id}`)).status, 404);
    });

    test("bad input is refused by name, without harm", async () => {
      const mallory = new Customer(shop, "u-mallory");
      assert.equal((await mallory.buy()).body.code, "cart_empty");
      assert.equal((await mallory.add("../../etc/passwd")).status, 400);
      assert.equal((await mallory.add("fog-mug", 21)).status, 400);
      assert.equal((await mallory.add("no-such-thing")).status, 200);
      assert.equal((await mallory.buy()).body.code, "not_sold");
      assert.equal((await mallory.get("/products/no-such-thing")).status, 404);
      assert.equal((await mallory.get("/products/%E0%A4%A")).status, 404);
      assert.equal((await send("POST", shop.url("web", "/cart/items"), "x".repeat(70_000))).status, 413);
      assert.equal((await send("POST", shop.url("checkout", "/orders"), "{")).body.code, "bad_json");
      assert.equal((await send("DELETE", shop.url("web", "/cart"))).status, 405);
      const foreign = await send("POST", shop.url("web", "/cart/items"), { sku: "fog-mug" }, { "sec-fetch-site": "cross-site" });
      assert.equal(foreign.status, 403);
      assert.equal((await mallory.get("/")).status, 200);
    });

    test("a cart holds a bounded number of things", async () => {
      const line = (sku) => send("POST", shop.url("cart", "/carts/u-hoard/items"), { sku, quantity: 20 });
      for (let at = 0; at < 30; at++) assert.equal((await line(`thing-${at}`)).status, 200);
      assert.equal((await line("thing-30")).body.code, "cart_full");
      assert.equal((await line("thing-0")).body.lines.find((one) => one.sku === "thing-0").quantity, 20);
    });

    test("one trace runs through all services a checkout touches", async () => {
      const fay = new Customer(shop, "u-fay");
      const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
      fay.headers.traceparent = `00-${traceId}-00f067aa0ba902b7-01`;
      await fay.add("fog-mug");
      const bought = await fay.buy();
      assert.equal(bought.headers["x-trace-id"], traceId);
      const line = shop.logs.get("checkout").find((one) => one.order === bought.body.order.id);
      assert.equal(line.trace_id, traceId);
    });
  });
}
