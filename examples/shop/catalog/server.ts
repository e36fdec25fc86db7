/** catalog: what is sold and what it costs. */

import { openDatabase, profileOf, type Value } from "../kit/database.ts";
import { json, Refusal, type Request, SKU } from "../kit/http.ts";
import { runService } from "../kit/service.ts";
import { PRODUCTS } from "./products.ts";

const PAGE_MAX = 48;
const SKUS_MAX = 50;

const SCHEMA = [
  `CREATE TABLE products (
     sku TEXT PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, art TEXT NOT NULL, tint TEXT NOT NULL,
     price_cents BIGINT NOT NULL CHECK (price_cents > 0), line TEXT NOT NULL, description TEXT NOT NULL,
     place INTEGER NOT NULL);
   CREATE INDEX products_by_category ON products (category, place)`,
];

const COLUMNS = "sku, name, category, art, tint, price_cents, line, description";

await runService("catalog", async (settings) => {
  const database = await openDatabase(settings, "catalog");

  async function seed(): Promise<void> {
    await database.transaction(async (queries) => {
      for (const [place, one] of PRODUCTS.entries()) {
        await queries.rows(
          `INSERT INTO products (${COLUMNS}, place) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (sku) DO NOTHING`,
          [one.sku, one.name, one.category, one.art, one.tint, one.price_cents, one.line, one.description, place],
        );
      }
    });
  }

  async function list(request: Request) {
    const wanted: string[] = [];
    const values: Value[] = [];
    const category = request.url.searchParams.get("category");
    if (category) wanted.push(`category = $${values.push(category.slice(0, 40))}`);
    const words = (request.url.searchParams.get("q") ?? "").toLowerCase().split(/\s+/).filter(Boolean).slice(0, 5);
    for (const word of words) {
      const at = values.push(`%${word.slice(0, 40).replace(/[\\%_]/g, "\\$&")}%`);
      wanted.push(`lower(name || ' ' || line || ' ' || description) LIKE $${at} ESCAPE '\\'`);
    }
    const where = wanted.length ? `WHERE ${wanted.join(" AND ")}` : "";
    const limit = request.number("limit", 24, 1, PAGE_MAX);
    const offset = request.number("offset", 0, 0, 10_000);
    const products = await database.rows(
      `SELECT ${COLUMNS} FROM products ${where} ORDER BY place LIMIT ${limit} OFFSET ${offset}`,
      values,
    );
    const [total] = await database.rows<{ n: number }>(`SELECT count(*) AS n FROM products ${where}`, values);
    return json(200, { products, total: total?.n ?? 0 });
  }

  return {
    info: profileOf(database),
    async start() {
      await database.migrate("catalog", SCHEMA);
      await seed();
    },
    check: async () => void (await database.rows("SELECT 1 AS one")),
    close: () => database.close(),
    routes: [
      { method: "GET", path: "/products", handle: list },
      {
        method: "GET",
        path: "/products/:sku",
        async handle(request) {
          const [product] = await database.rows(`SELECT ${COLUMNS} FROM products WHERE sku = $1`, [request.param("sku")]);
          if (!product) throw new Refusal(404, "no_such_product", "there is no such product");
          return json(200, { product });
        },
      },
      {
        method: "GET",
        path: "/prices",
        async handle(request) {
          const skus = [...new Set(request.url.searchParams.getAll("sku"))];
          if (skus.length === 0) return json(200, { products: [] });
          if (skus.length > SKUS_MAX || !skus.every((sku) => SKU.test(sku))) {
            throw new Refusal(400, "bad_field", `expected at most ${SKUS_MAX} well-formed skus`);
          }
          const places = skus.map((_, at) => `$${at + 1}`).join(", ");
          const products = await database.rows(`SELECT ${COLUMNS} FROM products WHERE sku IN (${places})`, skus);
          return json(200, { products });
        },
      },
    ],
  };
});
