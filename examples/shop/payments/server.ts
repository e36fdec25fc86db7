/**
 * payments: the shop's own processor. Every charge is one row of its ledger, named by the caller's
 * key, so that asking twice charges once. Which cards it takes is fixed by their number:
 * `4000000000000002` is declined, `4000000000009995` has no funds, any other valid number is good.
 */

import { createHash } from "node:crypto";
import { openDatabase, profileOf } from "../kit/database.ts";
import { json, numberField, Refusal, type Request, textField } from "../kit/http.ts";
import { runService } from "../kit/service.ts";
import { telemetry } from "../kit/telemetry.ts";

const SCHEMA = [
  `CREATE TABLE charges (
     charge_key TEXT PRIMARY KEY, state TEXT NOT NULL, reason TEXT, amount_cents BIGINT NOT NULL,
     currency TEXT NOT NULL, card_last4 TEXT NOT NULL, approval TEXT, created_at BIGINT NOT NULL)`,
];

interface Charge {
  charge_key: string;
  /** `voided` holds the place of a charge that must not happen any more. */
  state: "captured" | "declined" | "voided";
  reason: string | null;
  amount_cents: number;
  currency: string;
  card_last4: string;
  approval: string | null;
  created_at: number;
}

const KEY = /^[A-Za-z0-9_.:-]{8,128}$/;
const AMOUNT_CENTS_MAX = 10_000_000;

export function decide(card: string): { state: "captured" | "declined"; reason: string | null } {
  if (!/^\d{12,19}$/.test(card) || !passesLuhn(card)) return { state: "declined", reason: "the card number is not valid" };
  if (card === "4000000000000002") return { state: "declined", reason: "the card was declined" };
  if (card === "4000000000009995") return { state: "declined", reason: "the card has insufficient funds" };
  return { state: "captured", reason: null };
}

function passesLuhn(card: string): boolean {
  let sum = 0;
  for (let at = 0; at < card.length; at++) {
    const digit = Number(card[card.length - 1 - at]);
    const twice = digit * 2;
    sum += at % 2 === 0 ? digit : twice > 9 ? twice - 9 : twice;
  }
  return sum % 10 === 0;
}

await runService("payments", async (settings) => {
  const database = await openDatabase(settings, "payments");

  const find = async (key: string): Promise<Charge | undefined> =>
    (await database.rows<Charge>("SELECT * FROM charges WHERE charge_key = $1", [key]))[0];

  /** Writes the charge unless its key is taken; returns what stands there now. */
  async function record(charge: Charge): Promise<{ charge: Charge; isNew: boolean }> {
    const [written] = await database.rows<Charge>(
      `INSERT INTO charges (charge_key, state, reason, amount_cents, currency, card_last4, approval, created_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (charge_key) DO NOTHING RETURNING *`,
      [charge.charge_key, charge.state, charge.reason, charge.amount_cents, charge.currency, charge.card_last4, charge.approval, charge.created_at],
    );
    if (written) return { charge: written, isNew: true };
    const standing = await find(charge.charge_key);
    if (!standing) throw new Error("a charge is neither new nor there");
    return { charge: standing, isNew: false };
  }

  async function charge(request: Request) {
    const body = await request.json();
    const charge_key = textField(body, "key", 128, KEY);
    const amount_cents = numberField(body, "amount_cents", 1, AMOUNT_CENTS_MAX);
    const currency = textField(body, "currency", 3, /^[A-Z]{3}$/);
    const card = textField(body, "card", 40).replaceAll(/[ -]/g, "");
    const { state, reason } = decide(card);
    const approval =
      state === "captured" ? createHash("sha256").update(`${charge_key} ${amount_cents}`).digest("hex").slice(0, 8) : null;
    const result = await record({
      ...{ charge_key, state, reason, amount_cents, currency, approval },
      card_last4: card.slice(-4),
      created_at: Date.now(),
    });
    const standing = result.charge;
    if (standing.state === "voided") throw new Refusal(409, "voided", "this charge was called off");
    if (standing.amount_cents !== amount_cents || standing.currency !== currency) {
      throw new Refusal(409, "key_reused", "this key stands for a charge of another amount");
    }
    if (result.isNew) telemetry.count("shop.charges", 1, { state: standing.state });
    return json(standing.state === "declined" ? 402 : result.isNew ? 201 : 200, { charge: standing });
  }

  /** After this, the key is either charged or never will be. */
  async function voided(request: Request) {
    const charge_key = textField(request.params, "key", 128, KEY);
    const { charge } = await record({
      ...{ charge_key, state: "voided", reason: "called off before it was made", amount_cents: 0 },
      ...{ currency: "EUR", card_last4: "", approval: null, created_at: Date.now() },
    });
    return json(200, { charge });
  }

  return {
    info: profileOf(database),
    start: () => database.migrate("payments", SCHEMA),
    check: async () => void (await database.rows("SELECT 1 AS one")),
    close: () => database.close(),
    routes: [
      { method: "POST", path: "/charges", handle: charge },
      { method: "POST", path: "/charges/:key/void", handle: voided },
      {
        method: "GET",
        path: "/charges/:key",
        async handle(request) {
          const found = await find(request.param("key"));
          if (!found) throw new Refusal(404, "no_such_charge", "there is no such charge");
          return json(200, { charge: found });
        },
      },
      {
        method: "GET",
        path: "/ledger",
        async handle() {
          const totals = await database.rows(
            "SELECT state, count(*) AS charges, CAST(sum(amount_cents) AS BIGINT) AS amount_cents FROM charges GROUP BY state ORDER BY state",
          );
          return json(200, { totals });
        },
      },
    ],
  };
});
