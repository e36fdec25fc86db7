/** web: the store front. Pages for people, and the same addresses as JSON for programs. */

import { createHash, randomBytes, randomUUID } from "node:crypto";
import { type Answer, Peer, Unreachable } from "../kit/call.ts";
import { json, problem, Refusal, type Reply, type Request, SKU, USER } from "../kit/http.ts";
import { runService } from "../kit/service.ts";
import script from "./app.client.js";
import icon from "./favicon.svg";
import * as pages from "./pages.ts";
import style from "./style.css";

const PAGE = 24;
const ORDERS_PAGE = 20;
const YEAR_SECONDS = 31_536_000;

const SAFETY_HEADERS = {
  "content-security-policy":
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "same-origin",
};

const wantsJson = (request: Request): boolean => (request.header("accept") ?? "").startsWith("application/json");

function userOf(request: Request): string | undefined {
  const user = request.cookie("shop_user") ?? request.header("x-user-id");
  return user && USER.test(user) ? user : undefined;
}

function visitorOf(request: Request): pages.Visitor {
  const theme = request.cookie("shop_theme");
  return {
    user: userOf(request) ?? `u-${randomBytes(12).toString("hex")}`,
    theme: theme === "light" || theme === "dark" ? theme : undefined,
    count: Math.min(Math.max(Number.parseInt(request.cookie("shop_count") ?? "", 10) || 0, 0), 999),
  };
}

const cookie = (name: string, value: string) => `${name}=${value}; Path=/; Max-Age=${YEAR_SECONDS}; SameSite=Lax; HttpOnly`;

function cookiesFor(request: Request, visitor: pages.Visitor): string[] {
  const cookies: string[] = [];
  if (userOf(request) === undefined) cookies.push(cookie("shop_user", visitor.user));
  if (String(visitor.count) !== request.cookie("shop_count")) cookies.push(cookie("shop_count", String(visitor.count)));
  return cookies;
}

function show(request: Request, visitor: pages.Visitor, status: number, body: string): Reply {
  const headers = { "content-type": "text/html; charset=utf-8", "cache-control": "no-store", vary: "accept, cookie", ...SAFETY_HEADERS };
  return { status, headers: { ...headers, "set-cookie": cookiesFor(request, visitor) }, body };
}

function go(request: Request, visitor: pages.Visitor, to: string): Reply {
  return { status: 303, headers: { location: to, "cache-control": "no-store", "set-cookie": cookiesFor(request, visitor) } };
}

/** What a form or a program sent. Only our own pages may send forms. */
async function fields(request: Request): Promise<Record<string, string>> {
  if (request.header("sec-fetch-site") === "cross-site") throw new Refusal(403, "cross_site", "this form came from another site");
  if ((request.header("content-type") ?? "").startsWith("application/json")) {
    const body = await request.json();
    return Object.fromEntries(Object.entries(body).map(([name, value]) => [name, String(value)]));
  }
  return Object.fromEntries(new URLSearchParams(await request.text()));
}

function expect200(answer: Answer, what: string): Record<string, unknown> {
  if (answer.status === 200) return answer.body;
  const message = String(answer.body["message"] ?? `${what} answered ${answer.status}`);
  throw new Refusal(answer.status, String(answer.body["code"] ?? "upstream"), message);
}

function quantityOf(text: string | undefined, least: number): number {
  const quantity = Number(text ?? "1");
  if (!Number.isInteger(quantity) || quantity < least || quantity > 20) {
    throw new Refusal(400, "bad_field", `the quantity has to be from ${least} to 20`);
  }
  return quantity;
}

interface CartBody {
  lines: { sku: string; quantity: number }[];
}

const countOf = (cart: CartBody): number => cart.lines.reduce((sum, line) => sum + line.quantity, 0);

class Front {
  readonly catalog = new Peer("catalog");
  readonly cart = new Peer("cart");
  readonly checkout = new Peer("checkout");

  async products(query: URLSearchParams, user: string): Promise<{ products: pages.Product[]; total: number }> {
    const answer = await this.catalog.call({ path: `/products?${query}`, route: "/products", user });
    return expect200(answer, "catalog") as unknown as { products: pages.Product[]; total: number };
  }

  async home(request: Request): Promise<Reply> {
    const visitor = visitorOf(request);
    const { products } = await this.products(new URLSearchParams({ limit: "24" }), visitor.user);
    const chosen = [8, 2, 14, 3, 11, 16, 5, 20].map((at) => products[at]).filter((one) => one !== undefined);
    return show(request, visitor, 200, pages.homePage(visitor, chosen));
  }

  async browse(request: Request): Promise<Reply> {
    const visitor = visitorOf(request);
    const given = request.url.searchParams;
    const category = given.get("category") ?? undefined;
    if (category && !Object.hasOwn(pages.CATEGORIES, category)) throw new Refusal(404, "not_found", "there is no such department");
    const words = (given.get("q") ?? "").trim().slice(0, 80);
    const offset = request.number("offset", 0, 0, 10_000);
    const query = new URLSearchParams({ limit: String(PAGE), offset: String(offset) });
    if (category) query.set("category", category);
    if (words) query.set("q", words);
    const { products, total } = await this.products(query, visitor.user);
    if (wantsJson(request)) return json(200, { products, total });
    return show(request, visitor, 200, pages.browsePage(visitor, { products, total, category, words, offset, limit: PAGE }));
  }

  async product(request: Request): Promise<Reply> {
    const visitor = visitorOf(request);
    const sku = request.param("sku");
    const answer = await this.catalog.call({ path: `/products/${encodeURIComponent(sku)}`, route: "/products/:sku", user: visitor.user });
    const product = expect200(answer, "catalog")["product"] as pages.Product;
    const related = await this.products(new URLSearchParams({ category: product.category, limit: "5" }), visitor.user);
    const others = related.products.filter((one) => one.sku !== sku).slice(0, 4);
    return show(request, visitor, 200, pages.productPage(visitor, product, others));
  }

  /** The cart with its products, and the visitor's count put right by it. */
  async cartLines(visitor: pages.Visitor): Promise<pages.CartLine[]> {
    const answer = await this.cart.call({ path: `/carts/${visitor.user}`, route: "/carts/:user", user: visitor.user });
    const cart = expect200(answer, "cart") as unknown as CartBody;
    visitor.count = countOf(cart);
    if (cart.lines.length === 0) return [];
    const query = new URLSearchParams(cart.lines.map((line) => ["sku", line.sku]));
    const priced = await this.catalog.call({ path: `/prices?${query}`, route: "/prices", user: visitor.user });
    const products = expect200(priced, "catalog")["products"] as pages.Product[];
    return cart.lines.map((line) => ({ ...line, product: products.find((one) => one.sku === line.sku) }));
  }

  async showCart(request: Request): Promise<Reply> {
    const visitor = visitorOf(request);
    const lines = await this.cartLines(visitor);
    if (wantsJson(request)) return json(200, { lines, count: visitor.count, total_cents: pages.totalOf(lines) });
    return show(request, visitor, 200, pages.cartPage(visitor, lines));
  }

  async addToCart(request: Request): Promise<Reply> {
    const visitor = visitorOf(request);
    const { sku = "", quantity } = await fields(request);
    if (!SKU.test(sku)) throw new Refusal(400, "bad_field", `"sku" is not acceptable`);
    const answer = await this.cart.call({
      method: "POST",
      path: `/carts/${visitor.user}/items`,
      route: "/carts/:user/items",
      user: visitor.user,
      body: { sku, quantity: quantityOf(quantity, 1) },
    });
    return this.#cartChanged(request, visitor, answer);
  }

  async changeCart(request: Request): Promise<Reply> {
    const visitor = visitorOf(request);
    const { quantity } = await fields(request);
    const answer = await this.cart.call({
      method: "PUT",
      path: `/carts/${visitor.user}/items/${encodeURIComponent(request.param("sku"))}`,
      route: "/carts/:user/items/:sku",
      user: visitor.user,
      body: { quantity: quantityOf(quantity, 0) },
      repeatable: true,
    });
    return this.#cartChanged(request, visitor, answer);
  }

  #cartChanged(request: Request, visitor: pages.Visitor, answer: Answer): Reply {
    visitor.count = countOf(expect200(answer, "cart") as unknown as CartBody);
    if (!wantsJson(request)) return go(request, visitor, "/cart");
    const reply = json(200, { count: visitor.count });
    return { ...reply, headers: { ...reply.headers, "set-cookie": cookiesFor(request, visitor) } };
  }

  async checkoutForm(request: Request): Promise<Reply> {
    const visitor = visitorOf(request);
    const lines = await this.cartLines(visitor);
    if (lines.length === 0) return go(request, visitor, "/cart");
    const form = { key: randomUUID(), name: "", address: "", city: "" };
    return show(request, visitor, 200, pages.checkoutPage(visitor, lines, form));
  }

  async placeOrder(request: Request): Promise<Reply> {
    const visitor = visitorOf(request);
    const { name = "", address = "", city = "", card = "", key } = await fields(request);
    const form: pages.CheckoutForm = { key: request.header("idempotency-key") ?? key ?? randomUUID(), name, address, city };
    let answer: Answer;
    try {
      answer = await this.checkout.call({
        method: "POST",
        path: "/orders",
        route: "/orders",
        user: visitor.user,
        body: { user: visitor.user, ...form, card },
        timeoutMs: 8_000,
        repeatable: true,
      });
    } catch (error) {
      if (!(error instanceof Unreachable) || wantsJson(request)) throw error;
      const trouble = { message: "We could not reach the till.", unsure: true };
      return this.#tryAgain(request, visitor, error.status, { ...form, trouble });
    }
    const order = answer.body["order"] as pages.Order | undefined;
    if (answer.status < 300 && order?.state === "paid") visitor.count = 0;
    if (wantsJson(request)) {
      const reply = json(answer.status, answer.body);
      return { ...reply, headers: { ...reply.headers, "set-cookie": cookiesFor(request, visitor) } };
    }
    if (answer.status < 300 && order) return go(request, visitor, `/orders/${order.id}`);
    if (answer.body["code"] === "cart_empty") return go(request, visitor, "/cart");
    const reason = String(order?.reason ?? answer.body["message"] ?? "the order was not taken");
    const trouble = { message: `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`, unsure: false };
    // What was refused is over; another try is another order.
    return this.#tryAgain(request, visitor, answer.status, { ...form, key: randomUUID(), trouble });
  }

  async #tryAgain(request: Request, visitor: pages.Visitor, status: number, form: pages.CheckoutForm): Promise<Reply> {
    const lines = await this.cartLines(visitor);
    return show(request, visitor, status, pages.checkoutPage(visitor, lines, form));
  }

  async orders(request: Request): Promise<Reply> {
    const visitor = visitorOf(request);
    const query = new URLSearchParams({ user: visitor.user, limit: String(ORDERS_PAGE) });
    const before = request.url.searchParams.get("before");
    if (before) query.set("before", before);
    const answer = await this.checkout.call({ path: `/orders?${query}`, route: "/orders", user: visitor.user });
    const orders = expect200(answer, "checkout")["orders"] as pages.Order[];
    if (wantsJson(request)) return json(200, { orders });
    const more = orders.length === ORDERS_PAGE ? orders.at(-1)?.created_at : undefined;
    return show(request, visitor, 200, pages.ordersPage(visitor, orders, more));
  }

  async order(request: Request): Promise<Reply> {
    const visitor = visitorOf(request);
    const query = new URLSearchParams({ user: visitor.user });
    const path = `/orders/${encodeURIComponent(request.param("id"))}?${query}`;
    const body = expect200(await this.checkout.call({ path, route: "/orders/:id", user: visitor.user }), "checkout");
    if (wantsJson(request)) return json(200, body);
    return show(request, visitor, 200, pages.orderPage(visitor, body["order"] as pages.Order));
  }
}

function asset(type: string, text: string) {
  const tag = `"${createHash("sha256").update(text).digest("hex").slice(0, 16)}"`;
  return async (request: Request): Promise<Reply> => {
    const headers = { "content-type": type, etag: tag, "cache-control": "public, max-age=300", "x-content-type-options": "nosniff" };
    return request.header("if-none-match") === tag ? { status: 304, headers } : { status: 200, headers, body: text };
  };
}

await runService("web", async () => {
  const front = new Front();
  return {
    info: { profile: "any", store: "none" },
    userOf,
    async close() {
      for (const peer of [front.catalog, front.cart, front.checkout]) peer.close();
    },
    async failure(request, status, code, message) {
      if (wantsJson(request)) return problem(status, code, message);
      const visitor = visitorOf(request);
      return show(request, visitor, status, pages.troublePage(visitor, status, message));
    },
    routes: [
      { method: "GET", path: "/", handle: (request) => front.home(request) },
      { method: "GET", path: "/browse", handle: (request) => front.browse(request) },
      { method: "GET", path: "/products/:sku", handle: (request) => front.product(request) },
      { method: "GET", path: "/cart", handle: (request) => front.showCart(request) },
      { method: "POST", path: "/cart/items", handle: (request) => front.addToCart(request) },
      { method: "POST", path: "/cart/items/:sku", handle: (request) => front.changeCart(request) },
      { method: "GET", path: "/checkout", handle: (request) => front.checkoutForm(request) },
      { method: "POST", path: "/checkout", handle: (request) => front.placeOrder(request) },
      { method: "GET", path: "/orders", handle: (request) => front.orders(request) },
      { method: "GET", path: "/orders/:id", handle: (request) => front.order(request) },
      { method: "GET", path: "/assets/style.css", handle: asset("text/css; charset=utf-8", style) },
      { method: "GET", path: "/assets/app.js", handle: asset("text/javascript; charset=utf-8", script) },
      { method: "GET", path: "/assets/favicon.svg", handle: asset("image/svg+xml", icon) },
    ],
  };
});
