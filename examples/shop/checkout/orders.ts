/** The orders in the database: `pending` until the charge is known, then final. */

import { randomBytes } from "node:crypto";
import type { Database, Row } from "../kit/database.ts";

export const SCHEMA = [
  `CREATE TABLE orders (
     id TEXT PRIMARY KEY, user_id TEXT NOT NULL, order_key TEXT NOT NULL, state TEXT NOT NULL, reason TEXT,
     total_cents BIGINT NOT NULL, currency TEXT NOT NULL, cart_version BIGINT NOT NULL,
     name TEXT NOT NULL, address TEXT NOT NULL, city TEXT NOT NULL,
     approval TEXT, created_at BIGINT NOT NULL, settled_at BIGINT, UNIQUE (user_id, order_key));
   CREATE INDEX orders_by_user ON orders (user_id, created_at);
   CREATE INDEX orders_by_state ON orders (state, created_at);
   CREATE TABLE order_lines (
     order_id TEXT NOT NULL REFERENCES orders (id), place INTEGER NOT NULL, sku TEXT NOT NULL, name TEXT NOT NULL,
     quantity INTEGER NOT NULL, unit_cents BIGINT NOT NULL, PRIMARY KEY (order_id, place))`,
];

export type State = "pending" | "paid" | "declined" | "abandoned";

export interface OrderLine {
  sku: string;
  name: string;
  quantity: number;
  unit_cents: number;
}

export interface Order {
  id: string;
  user_id: string;
  state: State;
  reason: string | null;
  total_cents: number;
  currency: string;
  cart_version: number;
  name: string;
  address: string;
  city: string;
  approval: string | null;
  created_at: number;
  settled_at: number | null;
}

export type NewOrder = Pick<Order, "user_id" | "cart_version" | "name" | "address" | "city"> & {
  order_key: string;
  lines: OrderLine[];
};

const COLUMNS =
  "id, user_id, state, reason, total_cents, currency, cart_version, name, address, city, approval, created_at, settled_at";

/** 80 random bits in letters that can't be mistaken for one another on the telephone. */
function newId(): string {
  const letters = "0123456789abcdefghjkmnpqrstvwxyz";
  let id = "";
  for (const byte of randomBytes(16)) id += letters[byte % 32];
  return `el${id}`;
}

export class Orders {
  constructor(readonly database: Database) {}

  async byKey(user: string, key: string): Promise<Order | undefined> {
    const found = await this.database.rows<Order>(`SELECT ${COLUMNS} FROM orders WHERE user_id = $1 AND order_key = $2`, [user, key]);
    return found[0];
  }

  async byId(id: string): Promise<Order | undefined> {
    return (await this.database.rows<Order>(`SELECT ${COLUMNS} FROM orders WHERE id = $1`, [id]))[0];
  }

  lines(id: string): Promise<OrderLine[]> {
    return this.database.rows("SELECT sku, name, quantity, unit_cents FROM order_lines WHERE order_id = $1 ORDER BY place", [id]);
  }

  /** Newest first; `before` is the time of the last one seen. */
  ofUser(user: string, before: number, limit: number): Promise<Order[]> {
    return this.database.rows(
      `SELECT ${COLUMNS} FROM orders WHERE user_id = $1 AND created_at < $2 ORDER BY created_at DESC, id DESC LIMIT $3`,
      [user, before, limit],
    );
  }

  /** Stores a pending order, unless this customer's key has one: then that one is returned. */
  async open(order: NewOrder): Promise<Order> {
    const total = order.lines.reduce((sum, line) => sum + line.quantity * line.unit_cents, 0);
    const opened = await this.database.transaction(async (queries) => {
      const [row] = await queries.rows<Order & Row>(
        `INSERT INTO orders (id, user_id, order_key, state, total_cents, currency, cart_version, name, address, city, created_at)
         VALUES ($1, $2, $3, 'pending', $4, 'EUR', $5, $6, $7, $8, $9)
         ON CONFLICT (user_id, order_key) DO NOTHING RETURNING ${COLUMNS}`,
        [newId(), order.user_id, order.order_key, total, order.cart_version, order.name, order.address, order.city, Date.now()],
      );
      if (!row) return undefined;
      for (const [place, line] of order.lines.entries()) {
        await queries.rows(
          "INSERT INTO order_lines (order_id, place, sku, name, quantity, unit_cents) VALUES ($1, $2, $3, $4, $5, $6)",
          [row.id, place, line.sku, line.name, line.quantity, line.unit_cents],
        );
      }
      return row;
    });
    const standing = opened ?? (await this.byKey(order.user_id, order.order_key));
    if (!standing) throw new Error("an order is neither new nor there");
    return standing;
  }

  /** Makes a pending order final. What is final stays; returns what stands then. */
  async conclude(id: string, state: State, reason: string | null, approval: string | null): Promise<Order> {
    const [changed] = await this.database.rows<Order>(
      `UPDATE orders SET state = $1, reason = $2, approval = $3, settled_at = $4 WHERE id = $5 AND state = 'pending' RETURNING ${COLUMNS}`,
      [state, reason, approval, Date.now(), id],
    );
    const standing = changed ?? (await this.byId(id));
    if (!standing) throw new Error(`order ${id} is gone`);
    return standing;
  }

  /** Pending for so long that nobody works on them any more. */
  stale(before: number, limit: number): Promise<Order[]> {
    return this.database.rows(
      `SELECT ${COLUMNS} FROM orders WHERE state = 'pending' AND created_at < $1 ORDER BY created_at LIMIT $2`,
      [before, limit],
    );
  }
}
