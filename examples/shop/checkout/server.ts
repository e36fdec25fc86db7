/** checkout: takes an order: prices the cart, charges it, stores it. */

import { Peer } from "../kit/call.ts";
import { openDatabase, profileOf } from "../kit/database.ts";
import { json, Refusal, textField, USER } from "../kit/http.ts";
import { runService } from "../kit/service.ts";
import { type Order, Orders, SCHEMA, type OrderLine } from "./orders.ts";
import { Desk } from "./place.ts";

const PAGE_MAX = 50;
const KEY = /^[A-Za-z0-9_-]{8,80}$/;

/** What callers see of an order; the rest is nobody's business. */
const shown = (order: Order, lines?: OrderLine[]) => ({
  id: order.id,
  state: order.state,
  reason: order.reason,
  total_cents: order.total_cents,
  currency: order.currency,
  name: order.name,
  address: order.address,
  city: order.city,
  approval: order.approval,
  created_at: order.created_at,
  ...(lines ? { lines } : {}),
});

await runService("checkout", async (settings) => {
  const peers = { cart: new Peer("cart"), catalog: new Peer("catalog"), payments: new Peer("payments") };
  const orders = new Orders(await openDatabase(settings, "checkout"));
  const desk = new Desk(orders, peers.cart, peers.catalog, peers.payments);
  let stopSweeping = () => {};

  return {
    info: profileOf(orders.database),
    async start() {
      await orders.database.migrate("checkout", SCHEMA);
      stopSweeping = desk.keepSweeping();
    },
    check: async () => void (await orders.database.rows("SELECT 1 AS one")),
    async close() {
      stopSweeping();
      for (const peer of Object.values(peers)) peer.close();
      await orders.database.close();
    },
    routes: [
      {
        method: "POST",
        path: "/orders",
        async handle(request) {
          const body = await request.json();
          const { order, isNew } = await desk.place({
            user: textField(body, "user", 64, USER),
            key: textField(body, "key", 80, KEY),
            name: textField(body, "name", 120),
            address: textField(body, "address", 200),
            city: textField(body, "city", 120),
            card: textField(body, "card", 40),
          });
          const status = { paid: isNew ? 201 : 200, declined: 402, abandoned: 409, pending: 202 }[order.state];
          return json(status, { order: shown(order) });
        },
      },
      {
        method: "GET",
        path: "/orders",
        async handle(request) {
          const user = request.url.searchParams.get("user") ?? "";
          if (!USER.test(user)) throw new Refusal(400, "bad_field", "the user id is not acceptable");
          const limit = request.number("limit", 20, 1, PAGE_MAX);
          const before = request.number("before", Number.MAX_SAFE_INTEGER, 0, Number.MAX_SAFE_INTEGER);
          const found = await orders.ofUser(user, before, limit);
          return json(200, { orders: found.map((order) => shown(order)) });
        },
      },
      {
        method: "GET",
        path: "/orders/:id",
        async handle(request) {
          const order = await orders.byId(request.param("id"));
          // Somebody else's order looks exactly like one that isn't there.
          if (!order || order.user_id !== request.url.searchParams.get("user")) {
            throw new Refusal(404, "no_such_order", "there is no such order");
          }
          return json(200, { order: shown(order, await orders.lines(order.id)) });
        },
      },
    ],
  };
});
