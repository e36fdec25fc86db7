/** cart: what each customer means to buy. */

import { json, numberField, Refusal, type Request, SKU, textField, USER } from "../kit/http.ts";
import { runService } from "../kit/service.ts";
import { type CartStore, MemoryCarts, QUANTITY_MAX, RedisCarts } from "./store.ts";

await runService("cart", async (settings) => {
  const carts: CartStore = settings.redisUrl ? new RedisCarts(settings.redisUrl) : new MemoryCarts();

  const userOf = (request: Request): string => {
    const user = request.param("user");
    if (!USER.test(user)) throw new Refusal(400, "bad_field", "the user id is not acceptable");
    return user;
  };

  return {
    info:
      carts.kind === "redis"
        ? { profile: "platform", store: "redis" }
        : { profile: "embedded", store: "memory", note: "carts are lost when this process ends" },
    start: () => carts.connect(),
    check: () => carts.check(),
    close: () => carts.close(),
    userOf: (request) => request.header("x-user-id") ?? request.params["user"],
    routes: [
      { method: "GET", path: "/carts/:user", handle: async (request) => json(200, await carts.get(userOf(request))) },
      {
        method: "POST",
        path: "/carts/:user/items",
        async handle(request) {
          const body = await request.json();
          const sku = textField(body, "sku", 40, SKU);
          return json(200, await carts.put(userOf(request), sku, numberField(body, "quantity", 1, QUANTITY_MAX), false));
        },
      },
      {
        method: "PUT",
        path: "/carts/:user/items/:sku",
        async handle(request) {
          const sku = textField(request.params, "sku", 40, SKU);
          const quantity = numberField(await request.json(), "quantity", 0, QUANTITY_MAX);
          return json(200, await carts.put(userOf(request), sku, quantity, true));
        },
      },
      {
        method: "POST",
        path: "/carts/:user/settle",
        async handle(request) {
          const version = numberField(await request.json(), "version", 0, Number.MAX_SAFE_INTEGER);
          return json(200, { emptied: await carts.settle(userOf(request), version) });
        },
      },
    ],
  };
});
