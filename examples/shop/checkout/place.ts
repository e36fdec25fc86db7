/**
 * Placing an order, so that it is neither lost nor made twice:
 *
 * 1. price the cart and store the order as pending, under the customer's key
 * 2. charge it, under the order's id
 * 3. make it final, and only then acknowledge it
 *
 * A retry with the same key goes on where the first try stopped. What nobody retries is swept: the
 * charge is called off, and whether it had been made by then decides the order.
 */

import type { Peer } from "../kit/call.ts";
import { Refusal } from "../kit/http.ts";
import { log } from "../kit/log.ts";
import { telemetry } from "../kit/telemetry.ts";
import { wholeNumber } from "../kit/settings.ts";
import type { Order, OrderLine, Orders } from "./orders.ts";

/** Longer than any request lives, so that the sweep never meets one at work. */
const STALE_AFTER_MS = wholeNumber(process.env, "PENDING_STALE_MS", 60_000, 100, 3_600_000);
const SWEEP_EVERY_MS = wholeNumber(process.env, "SWEEP_EVERY_MS", 15_000, 50, 3_600_000);
const SWEEP_MAX = 20;

export interface Wish {
  user: string;
  key: string;
  name: string;
  address: string;
  city: string;
  card: string;
}

interface Charge {
  state: "captured" | "declined" | "voided";
  reason: string | null;
  approval: string | null;
}

export class Desk {
  constructor(
    readonly orders: Orders,
    readonly cart: Peer,
    readonly catalog: Peer,
    readonly payments: Peer,
  ) {}

  /** The final order, and whether this call concluded it. */
  async place(wish: Wish): Promise<{ order: Order; isNew: boolean }> {
    const known = await this.orders.byKey(wish.user, wish.key);
    const standing = known ?? (await this.orders.open(await this.#price(wish)));
    if (standing.state !== "pending") {
      // A retry may come because the first try ended here. The cart's version makes this harmless.
      if (standing.state === "paid") await this.#emptyCart(standing);
      return { order: standing, isNew: false };
    }
    const order = await this.#charge(standing, wish.card);
    if (order.state === "paid") await this.#emptyCart(order);
    this.#report(order);
    return { order, isNew: true };
  }

  async #price(wish: Wish) {
    const user = encodeURIComponent(wish.user);
    const { status, body } = await this.cart.call({ path: `/carts/${user}`, route: "/carts/:user", user: wish.user });
    if (status !== 200) throw new Refusal(502, "upstream", `cart answered ${status}`);
    const { lines: wanted, version } = body as unknown as { lines: { sku: string; quantity: number }[]; version: number };
    if (wanted.length === 0) throw new Refusal(409, "cart_empty", "the cart is empty");

    const query = wanted.map((line) => `sku=${encodeURIComponent(line.sku)}`).join("&");
    const priced = await this.catalog.call({ path: `/prices?${query}`, route: "/prices", user: wish.user });
    if (priced.status !== 200) throw new Refusal(502, "upstream", `catalog answered ${priced.status}`);
    const products = priced.body["products"] as { sku: string; name: string; price_cents: number }[];
    const bySku = new Map(products.map((product) => [product.sku, product]));
    const lines = wanted.map(({ sku, quantity }): OrderLine => {
      const product = bySku.get(sku);
      if (!product) throw new Refusal(409, "not_sold", `"${sku}" is no longer sold: take it out of the cart`);
      return { sku, quantity, name: product.name, unit_cents: product.price_cents };
    });
    return {
      user_id: wish.user,
      order_key: wish.key,
      cart_version: version,
      ...{ name: wish.name, address: wish.address, city: wish.city, lines },
    };
  }

  async #charge(order: Order, card: string): Promise<Order> {
    const { status, body } = await this.payments.call({
      method: "POST",
      path: "/charges",
      route: "/charges",
      user: order.user_id,
      body: { key: order.id, amount_cents: order.total_cents, currency: order.currency, card },
      timeoutMs: 3_000,
      repeatable: true,
    });
    if (status === 409) return this.orders.conclude(order.id, "abandoned", "the charge was called off", null);
    if (status !== 200 && status !== 201 && status !== 402) throw new Refusal(502, "upstream", `payments answered ${status}`);
    return this.#concludeBy(order, body["charge"] as Charge);
  }

  #concludeBy(order: Order, charge: Charge): Promise<Order> {
    switch (charge.state) {
      case "captured":
        return this.orders.conclude(order.id, "paid", null, charge.approval);
      case "declined":
        return this.orders.conclude(order.id, "declined", charge.reason, null);
      case "voided":
        return this.orders.conclude(order.id, "abandoned", "it was not paid in time", null);
    }
  }

  /** The order stands already, so a cart that can't be reached only stays full. */
  async #emptyCart(order: Order): Promise<void> {
    try {
      await this.cart.call({
        method: "POST",
        path: `/carts/${encodeURIComponent(order.user_id)}/settle`,
        route: "/carts/:user/settle",
        user: order.user_id,
        body: { version: order.cart_version },
        timeoutMs: 500,
        repeatable: true,
      });
    } catch (error) {
      log.warn("the cart of a paid order was not emptied", { order: order.id, error });
    }
  }

  #report(order: Order): void {
    telemetry.count("shop.orders", 1, { state: order.state });
    if (order.state === "paid") telemetry.count("shop.revenue", order.total_cents, { currency: order.currency });
    log.info("order concluded", { order: order.id, state: order.state, total_cents: order.total_cents });
  }

  /** Concludes what was left pending. Any number of processes may do this at once. */
  async sweep(): Promise<void> {
    for (const order of await this.orders.stale(Date.now() - STALE_AFTER_MS, SWEEP_MAX)) {
      const { status, body } = await this.payments.call({
        method: "POST",
        path: `/charges/${order.id}/void`,
        route: "/charges/:key/void",
        user: order.user_id,
        repeatable: true,
      });
      if (status !== 200) throw new Error(`payments answered ${status}`);
      const concluded = await this.#concludeBy(order, body["charge"] as Charge);
      if (concluded.state === "paid") await this.#emptyCart(concluded);
      log.warn("a left order was concluded", { order: order.id, state: concluded.state });
    }
  }

  /** Sweeps until the returned function is called. */
  keepSweeping(): () => void {
    let timer: NodeJS.Timeout;
    const next = () => {
      timer = setTimeout(() => {
        this.sweep().catch((error: unknown) => log.warn("the sweep failed", { error })).finally(next);
      }, SWEEP_EVERY_MS).unref();
    };
    next();
    return () => clearTimeout(timer);
  }
}
