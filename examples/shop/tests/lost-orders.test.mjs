// An order that was acknowledged is never lost and never made twice, whatever dies meanwhile.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Customer, get, lacksEngines, Shop, until } from "./shop.mjs";

const KILLS = 4;
const CUSTOMERS = 6;

for (const [profile, skip] of [["embedded", false], ["platform", lacksEngines()]]) {
  for (const victim of ["checkout", "payments"]) {
    test(`kill -9 of ${victim} under orders loses none, on the ${profile} profile`, { skip }, async () => {
      const shop = await Shop.start({ profile });
      const acknowledged = [];
      let going = true;
      /** Buys on and on; what fails is tried again with its own key, as a browser would. */
      const shopper = async (number) => {
        const customer = new Customer(shop, `u-crash-${number}`);
        for (let at = 0; going; at++) {
          const key = `crash-${number}-${at}-key`;
          await customer.add("fog-mug").catch(() => {});
          for (;;) {
            const answer = await customer.buy({ key }).catch(() => undefined);
            if (answer && answer.status < 300) {
              acknowledged.push({ customer, id: answer.body.order.id });
              break;
            }
            if (answer && answer.status < 500) throw new Error(`${answer.status}: ${answer.text}`);
            if (!going) break;
            await new Promise((done) => setTimeout(done, 20));
          }
        }
      };
      try {
        const shoppers = Array.from({ length: CUSTOMERS }, (_, number) => shopper(number));
        for (let kill = 1; kill <= KILLS; kill++) {
          const enough = acknowledged.length + 15;
          await until(`more orders before kill ${kill}`, () => acknowledged.length >= enough);
          await shop.end(victim, "SIGKILL");
          await shop.run(victim);
        }
        going = false;
        await Promise.all(shoppers);
        assert.ok(acknowledged.length >= 15 * KILLS);
        assert.equal(new Set(acknowledged.map((one) => one.id)).size, acknowledged.length, "no order was acknowledged as two");
        for (const { customer, id } of acknowledged) {
          const kept = await customer.get(`/orders/${id}`);
          assert.deepEqual([kept.status, kept.body?.order?.state], [200, "paid"], id);
          const charge = await get(shop.url("payments", `/charges/${id}`));
          assert.equal(charge.body.charge.amount_cents, kept.body.order.total_cents, id);
        }
      } finally {
        going = false;
        await shop.stop();
      }
    });
  }
}

describe("orders that nobody comes back for", () => {
  const env = { checkout: { PENDING_STALE_MS: "300", SWEEP_EVERY_MS: "100" } };

  test("are called off when they were not charged", async () => {
    const shop = await Shop.start({ env });
    try {
      const gus = new Customer(shop, "u-gus");
      await gus.add("fog-mug");
      await shop.end("payments", "SIGKILL");
      assert.equal((await gus.buy()).status, 502);
      await shop.run("payments");
      const [order] = await until("the sweep", async () => {
        const { orders } = (await gus.get("/orders")).body;
        return orders[0]?.state !== "pending" && orders;
      });
      assert.equal(order.state, "abandoned");
      assert.equal((await get(shop.url("payments", `/charges/${order.id}`))).body.charge.state, "voided");
      assert.equal((await gus.get("/cart")).body.count, 1, "what was not sold stays in the cart");
    } finally {
      await shop.stop();
    }
  });

  test("are completed when they were", async () => {
    const shop = await Shop.start({ env });
    try {
      const hal = new Customer(shop, "u-hal");
      await hal.add("fog-mug");
      // The charge is made, then its answer takes too long.
      const buying = hal.buy();
      await until("the charge", async () => {
        const { totals } = (await get(shop.url("payments", "/ledger"))).body;
        return totals.length > 0;
      });
      await shop.end("checkout", "SIGKILL");
      await buying.catch(() => {});
      await shop.run("checkout");
      await until("the sweep", async () => (await hal.get("/orders")).body.orders[0]?.state === "paid");
      await until("the cart is emptied", async () => (await hal.get("/cart")).body.count === 0);
    } finally {
      await shop.stop();
    }
  });
});
