/** The pages of the store front. Each takes what it shows and gives the whole document. */

import { drawing } from "./art.ts";
import { type Html, html, raw } from "./html.ts";

export interface Visitor {
  user: string;
  theme: "light" | "dark" | undefined;
  /** How many things are in the cart, as the visitor was last told. */
  count: number;
}

export interface Product {
  sku: string;
  name: string;
  category: string;
  art: string;
  tint: string;
  price_cents: number;
  line: string;
  description: string;
}

export interface CartLine {
  sku: string;
  quantity: number;
  /** None when the catalog no longer has it. */
  product: Product | undefined;
}

export interface Order {
  id: string;
  state: "pending" | "paid" | "declined" | "abandoned";
  reason: string | null;
  total_cents: number;
  name: string;
  address: string;
  city: string;
  approval: string | null;
  created_at: number;
  lines?: { sku: string; name: string; quantity: number; unit_cents: number }[];
}

export const CATEGORIES: Record<string, { name: string; art: string; tint: string; blurb: string }> = {
  tea: { name: "Tea", art: "tin", tint: "moss", blurb: "Leaves and herbs" },
  pots: { name: "Pots & kettles", art: "teapot", tint: "brick", blurb: "To brew in" },
  cups: { name: "Cups & bowls", art: "mug", tint: "mist", blurb: "To drink from" },
  tools: { name: "Tools", art: "whisk", tint: "amber", blurb: "For the ritual" },
};

const euros = new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" });
const days = new Intl.DateTimeFormat("en-GB", { dateStyle: "long" });
const minutes = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short", timeZone: "UTC" });

export const money = (cents: number): string => euros.format(cents / 100);

const when = (ms: number): Html =>
  html`<time datetime="${new Date(ms).toISOString()}" title="${minutes.format(ms)} UTC">${days.format(ms)}</time>`;

const ICONS = {
  cart: raw(`<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M4 8h16l-1.6 11.500H5.600zM8.5 8V7a3.5 3.5 0 0 1 7 0v1"/></svg>`),
  orders: raw(`<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6 3.500h12v17l-3-2-3 2-3-2-3 2zM9.5 8.500h5M9.5 12.500h5"/></svg>`),
  theme: raw(`<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="8.5"/><path d="M12 3.500v17a8.5 8.5 0 0 0 0-17z" fill="currentColor"/></svg>`),
  plus: raw(`<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M10 3.500v13M3.5 10h13"/></svg>`),
  tick: raw(`<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M5 12.500l4.7 4.700L19.5 7.5"/></svg>`),
  cross: raw(`<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6.5 6.500l11 11M17.5 6.500l-11 11"/></svg>`),
  clock: raw(`<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 6v6.500l4 2.5"/></svg>`),
  leaf: raw(`<svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="9" fill="#1f5a46"/><path d="M16 26C7 20.5 6 12 16 5c10 7 9 15.5 0 21z" fill="#f2c078"/><path d="M15.3 11h1.400v17h-1.400z" fill="#1f5a46"/></svg>`),
};

interface Frame {
  title: string;
  /** Which entry of the navigation this is. */
  here?: string | undefined;
  words?: string | undefined;
}

function page(visitor: Visitor, frame: Frame, content: Html): string {
  const at = (name: string) => (frame.here === name ? raw(' aria-current="page"') : undefined);
  const nav = Object.entries(CATEGORIES).map(
    ([key, { name }]) => html`<a href="/browse?category=${key}"${at(key)}>${name}</a>`,
  );
  return html`<!doctype html>
<html lang="en"${visitor.theme ? raw(` data-theme="${visitor.theme}"`) : undefined}>
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${frame.title} · Ember & Leaf</title>
<link rel="icon" href="/assets/favicon.svg"><link rel="stylesheet" href="/assets/style.css"><script src="/assets/app.js" defer></script>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header class="top"><div>
  <a class="brand" href="/">${ICONS.leaf}Ember & Leaf</a>
  <nav aria-label="Shop">${nav}</nav>
  <form class="search" action="/browse" role="search"><label class="hidden-label" for="q">Search the shop</label>
    <input id="q" name="q" type="search" placeholder="Search" value="${frame.words ?? ""}" maxlength="80"></form>
  <div class="tools">
    <button class="icon" type="button" data-theme-toggle hidden aria-label="Switch between light and dark" title="Light or dark">${ICONS.theme}</button>
    <a class="icon" href="/orders" aria-label="Your orders" title="Your orders"${at("orders")}>${ICONS.orders}</a>
    <a class="icon" href="/cart" aria-label="Your cart" title="Your cart"${at("cart")}>${ICONS.cart}<span class="badge" data-cart-count${visitor.count === 0 ? raw(" hidden") : undefined}>${visitor.count}</span></a>
  </div>
</div></header>
<main id="content">${content}</main>
<footer><div><span>Ember & Leaf is the example shop of Stead: nothing here is really for sale.</span><span>Five services, one file each.</span></div></footer>
<div class="notice" role="status" aria-live="polite" data-notice></div>
</body></html>`.text;
}

const card = (product: Product): Html => html`<li class="card">
  <div class="picture field-${product.tint}">${drawing(product.art, product.tint, undefined)}</div>
  <div class="text">
    <h3><a href="/products/${product.sku}">${product.name}</a></h3><span class="soft small">${product.line}</span>
    <div class="foot"><span class="price">${money(product.price_cents)}</span>
      <form method="post" action="/cart/items" data-add="${product.name}"><input type="hidden" name="sku" value="${product.sku}"><input type="hidden" name="quantity" value="1">
        <button class="plus" aria-label="Add ${product.name} to the cart" title="Add to the cart">${ICONS.plus}</button></form>
    </div>
  </div></li>`;

const grid = (products: Product[]): Html => html`<ul class="grid">${products.map(card)}</ul>`;

export function homePage(visitor: Visitor, products: Product[]): string {
  const rooms = Object.entries(CATEGORIES).map(
    ([key, one]) => html`<a class="room field-${one.tint}" href="/browse?category=${key}"><span><h3>${one.name}</h3><span class="soft small">${one.blurb}</span></span>${drawing(one.art, one.tint, undefined)}</a>`,
  );
  return page(visitor, { title: "Tea and what it needs" }, html`
<section class="hero"><div><p class="kicker">New harvest</p><h1>Slow mornings start with good leaves.</h1>
  <p>Teas from small gardens, and pots and cups that are made to be used every day for a very long time.</p>
  <div class="actions"><a class="button" href="/browse?category=tea">Shop the teas</a><a class="button quiet" href="/browse">See everything</a></div></div>
  <div class="stage" aria-hidden="true">${drawing("mug", "brick", undefined)}${drawing("teapot", "moss", undefined)}${drawing("tin", "amber", undefined)}</div></section>
<section class="rooms" aria-label="Departments">${rooms}</section>
<section><div class="head"><h2>Favourites this week</h2><a href="/browse">All products</a></div>${grid(products)}</section>
<section class="promises"><div><h3>Sent the same day</h3><p>Order before three and your parcel leaves with the evening post.</p></div>
  <div><h3>Never lost</h3><p>An order we have confirmed is written down before we tell you so. Each and every one.</p></div>
  <div><h3>Charged once</h3><p>Press the button twice, lose your signal, come back tomorrow: you pay one time.</p></div></section>`);
}

export interface Listing {
  products: Product[];
  total: number;
  category: string | undefined;
  words: string;
  offset: number;
  limit: number;
}

export function browsePage(visitor: Visitor, list: Listing): string {
  const named = list.category ? CATEGORIES[list.category]?.name : undefined;
  const title = list.words ? `“${list.words}”` : (named ?? "Everything");
  const link = (category: string | undefined, offset = 0) => {
    const query = new URLSearchParams();
    if (category) query.set("category", category);
    if (list.words) query.set("q", list.words);
    if (offset) query.set("offset", String(offset));
    return `/browse${query.size ? `?${query}` : ""}`;
  };
  const chip = (key: string | undefined, name: string) =>
    html`<a href="${link(key)}"${list.category === key ? raw(' aria-current="true"') : undefined}>${name}</a>`;
  const chips = [chip(undefined, "Everything"), ...Object.entries(CATEGORIES).map(([key, { name }]) => chip(key, name))];
  const back = list.offset > 0 && html`<a class="button quiet little" href="${link(list.category, Math.max(0, list.offset - list.limit))}">Back</a>`;
  const more =
    list.offset + list.products.length < list.total &&
    html`<a class="button quiet little" href="${link(list.category, list.offset + list.limit)}">More</a>`;
  const found = list.products.length
    ? html`${grid(list.products)}<div class="hero-actions">${back} ${more}</div>`
    : html`<div class="empty">${drawing("bowl", "mist", undefined)}<h2>Nothing here by that name</h2><p>Try fewer letters, or look around.</p><a class="button" href="/browse">See everything</a></div>`;
  return page(visitor, { title, here: list.words ? undefined : list.category, words: list.words }, html`
<div class="head"><h1>${title}</h1><span class="soft num">${list.total} ${list.total === 1 ? "product" : "products"}</span></div>
<nav class="chips" aria-label="Departments">${chips}</nav>${found}`);
}

const quantities = (chosen: number): Html[] =>
  Array.from({ length: Math.max(10, chosen) }, (_, at) => html`<option${at + 1 === chosen ? raw(" selected") : undefined}>${at + 1}</option>`);

export function productPage(visitor: Visitor, product: Product, related: Product[]): string {
  const category = CATEGORIES[product.category]?.name ?? product.category;
  return page(visitor, { title: product.name, here: product.category }, html`
<nav class="crumbs" aria-label="Where you are"><a href="/">Home</a> / <a href="/browse?category=${product.category}">${category}</a></nav>
<article class="product"><div class="picture field-${product.tint}">${drawing(product.art, product.tint, product.name)}</div>
  <div><p class="kicker">${product.line}</p><h1>${product.name}</h1><p class="price">${money(product.price_cents)}</p><p>${product.description}</p>
    <form method="post" action="/cart/items" data-add="${product.name}"><input type="hidden" name="sku" value="${product.sku}">
      <label class="hidden-label" for="quantity">Quantity</label><select id="quantity" name="quantity">${quantities(1)}</select>
      <button class="button">Add to cart</button></form>
    <ul class="ticks"><li>In stock, leaves today</li><li>Thirty days to change your mind</li><li>Free delivery, always</li></ul></div></article>
${related.length > 0 && html`<section><h2>Goes well with it</h2>${grid(related)}</section>`}`);
}

const sums = (total: number): Html => html`<dl class="sums num"><div><dt>Goods</dt><dd>${money(total)}</dd></div><div><dt>Delivery</dt><dd>free</dd></div><div class="total"><dt>Total</dt><dd>${money(total)}</dd></div></dl>`;

export const totalOf = (lines: CartLine[]): number =>
  lines.reduce((sum, line) => sum + line.quantity * (line.product?.price_cents ?? 0), 0);

export function cartPage(visitor: Visitor, lines: CartLine[]): string {
  if (lines.length === 0) {
    return page(visitor, { title: "Your cart", here: "cart" }, html`<div class="empty">${drawing("mug", "amber", undefined)}<h1>Your cart is empty</h1><p>A good moment to find something warm.</p><a class="button" href="/browse">Look around</a></div>`);
  }
  const item = ({ sku, quantity, product }: CartLine) => html`<li>
  <span class="picture field-${product?.tint ?? "mist"}">${drawing(product?.art ?? "tin", product?.tint ?? "mist", undefined)}</span>
  <div><h3><a href="/products/${sku}">${product?.name ?? sku}</a></h3><span class="soft small">${product?.line ?? "No longer sold: please take it out"}</span><br>
    <form method="post" action="/cart/items/${sku}"><label class="hidden-label" for="n-${sku}">Quantity of ${product?.name ?? sku}</label><select id="n-${sku}" name="quantity" data-submit>${quantities(quantity)}</select><noscript><button class="plain">Update</button></noscript></form>
    <form method="post" action="/cart/items/${sku}"><input type="hidden" name="quantity" value="0"><button class="plain">Remove</button></form></div>
  <span class="price">${money(quantity * (product?.price_cents ?? 0))}</span></li>`;
  return page(visitor, { title: "Your cart", here: "cart" }, html`<h1>Your cart</h1>
<div class="split"><ul class="lines">${lines.map(item)}</ul>
<aside class="panel" aria-label="Sum"><h2>Sum</h2>${sums(totalOf(lines))}<a class="button wide" href="/checkout">Go to checkout</a></aside></div>`);
}

export interface CheckoutForm {
  key: string;
  name: string;
  address: string;
  city: string;
  /** What went wrong the last time; `unsure` when nobody can say whether it went through. */
  trouble?: { message: string; unsure: boolean };
}

export function checkoutPage(visitor: Visitor, lines: CartLine[], form: CheckoutForm): string {
  const small = (line: CartLine) => html`<li><span class="picture field-${line.product?.tint ?? "mist"}">${drawing(line.product?.art ?? "tin", line.product?.tint ?? "mist", undefined)}</span><span>${line.product?.name ?? line.sku}<br><span class="soft small">${line.quantity} ×</span></span><span class="price small">${money(line.quantity * (line.product?.price_cents ?? 0))}</span></li>`;
  const trouble =
    form.trouble &&
    html`<p class="note bad" role="alert"><strong>${form.trouble.message}</strong>${form.trouble.unsure && html` Press the button again: you will not be charged twice.`}</p>`;
  return page(visitor, { title: "Checkout", here: "cart" }, html`<h1>Checkout</h1>${trouble}
<form class="split" method="post" action="/checkout" data-once><div>
  <input type="hidden" name="key" value="${form.key}">
  <h2>Where to</h2><div class="fields">
    <label class="full">Name<input name="name" required maxlength="120" autocomplete="name" value="${form.name}"></label>
    <label class="full">Street and number<input name="address" required maxlength="200" autocomplete="street-address" value="${form.address}"></label>
    <label class="full">Postcode and town<input name="city" required maxlength="120" autocomplete="address-level2" value="${form.city}"></label></div>
  <h2>Payment</h2><div class="fields"><label class="full">Card number<input name="card" required inputmode="numeric" maxlength="23" pattern="[0-9 ]{12,23}" autocomplete="off" value="4242 4242 4242 4242">
    <small>Play money. 4000 0000 0000 0002 is declined, 4000 0000 0000 9995 has no funds.</small></label></div></div>
<aside class="panel" aria-label="Your order"><h2>Your order</h2><ul class="lines tight">${lines.map(small)}</ul>${sums(totalOf(lines))}<button class="button wide" type="submit">Pay ${money(totalOf(lines))}</button></aside></form>`);
}

const STATES = {
  paid: { word: "Paid", title: "Thank you, it’s on its way", seal: "", icon: ICONS.tick },
  pending: { word: "In progress", title: "We are still settling the payment", seal: "wait", icon: ICONS.clock },
  declined: { word: "Declined", title: "The payment did not go through", seal: "bad", icon: ICONS.cross },
  abandoned: { word: "Called off", title: "This order was called off", seal: "bad", icon: ICONS.cross },
};

export function orderPage(visitor: Visitor, order: Order): string {
  const state = STATES[order.state];
  const line = (one: NonNullable<Order["lines"]>[number]) =>
    html`<tr><td><a href="/products/${one.sku}">${one.name}</a></td><td class="num">${one.quantity} × ${money(one.unit_cents)}</td><td class="right price">${money(one.quantity * one.unit_cents)}</td></tr>`;
  return page(visitor, { title: `Order ${order.id}`, here: "orders" }, html`
<div class="done"><span class="seal ${state.seal}">${state.icon}</span><div><h1>${state.title}</h1><p>Order <code>${order.id}</code> of ${when(order.created_at)}${order.reason && html`: ${order.reason}`}</p></div></div>
<div class="split"><table class="table"><thead><tr><th>Product</th><th>Price</th><th class="right">Sum</th></tr></thead><tbody>${(order.lines ?? []).map(line)}</tbody></table>
<aside class="panel" aria-label="Details"><h2>Details</h2><p>${order.name}<br>${order.address}<br>${order.city}</p>${sums(order.total_cents)}<span class="state ${order.state}">${state.word}</span>${order.approval && html` <span class="soft small">approval <code>${order.approval}</code></span>`}</aside></div>
<p><a href="/orders">All your orders</a></p>`);
}

export function ordersPage(visitor: Visitor, orders: Order[], more: number | undefined): string {
  if (orders.length === 0) {
    return page(visitor, { title: "Your orders", here: "orders" }, html`<div class="empty">${drawing("pouch", "plum", undefined)}<h1>No orders yet</h1><p>What you buy in this browser is listed here.</p><a class="button" href="/browse">Look around</a></div>`);
  }
  const row = (order: Order) => html`<tr><td><a href="/orders/${order.id}"><code>${order.id}</code></a></td><td class="wide">${when(order.created_at)}</td><td><span class="state ${order.state}">${STATES[order.state].word}</span></td><td class="right price">${money(order.total_cents)}</td></tr>`;
  return page(visitor, { title: "Your orders", here: "orders" }, html`<h1>Your orders</h1>
<div class="panel"><table class="table"><thead><tr><th>Order</th><th class="wide">Placed</th><th>State</th><th class="right">Total</th></tr></thead><tbody>${orders.map(row)}</tbody></table></div>
${more !== undefined && html`<p><br><a class="button quiet little" href="/orders?before=${more}">Older</a></p>`}`);
}

export function troublePage(visitor: Visitor, status: number, message: string): string {
  const title = status === 404 ? "We looked everywhere" : status < 500 ? "That did not work" : "The kettle is off for a moment";
  const words = status === 404 ? "There is nothing at this address." : status < 500 ? `${message}.` : "Something behind the counter is not answering. Please try again in a moment.";
  return page(visitor, { title }, html`<div class="empty">${drawing("kettle", status < 500 ? "mist" : "slate", undefined)}<h1>${title}</h1><p>${words}</p><a class="button" href="/">Back to the shop</a></div>`);
}
