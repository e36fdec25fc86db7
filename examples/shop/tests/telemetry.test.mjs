// With an endpoint the five services export one joined trace and their metrics; without one, or
// with one that is gone, the shop works all the same.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import { Customer, freePort, get, Shop, until } from "./shop.mjs";

const NAMES = ["web", "catalog", "cart", "checkout", "payments"];

/** Keeps what is sent to it, by path. OTLP's protobuf has ids and names in it as plain bytes. */
async function collector() {
  const received = { "/v1/traces": [], "/v1/metrics": [] };
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    received[request.url]?.push(request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body);
    response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${server.address().port}`;
  return { url, received, close: () => (server.closeAllConnections(), server.close()) };
}

const forAll = (env) => Object.fromEntries(NAMES.map((name) => [name, env]));

test("a checkout is one trace over all five services, and each sends metrics", async () => {
  const { url, received, close } = await collector();
  const shop = await Shop.start({
    env: forAll({ OTEL_EXPORTER_OTLP_ENDPOINT: url, OTEL_METRIC_EXPORT_INTERVAL: "300", OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test-bench" }),
  });
  try {
    const customer = new Customer(shop, "u-traced");
    await customer.add("fog-mug");
    const bought = await customer.buy();
    assert.equal(bought.status, 201);
    const traceId = Buffer.from(bought.headers["x-trace-id"], "hex");
    const ofTrace = (name) =>
      received["/v1/traces"].some((body) => body.includes(traceId) && body.includes(`\x0a\x0cservice.name\x12`) && body.includes(name));
    for (const name of NAMES) {
      await until(`spans of ${name} in the trace`, () => ofTrace(name));
      await until(`metrics of ${name}`, () =>
        received["/v1/metrics"].some((body) => body.includes("http.server.request.duration") && body.includes(name)),
      );
    }
    assert.ok(received["/v1/traces"].some((body) => body.includes("test-bench")), "resource attributes are passed on");
    await until("the orders counter", () => received["/v1/metrics"].some((body) => body.includes("shop.orders")));
  } finally {
    await shop.stop();
    close();
  }
});

test("a collector that is gone costs neither requests nor the shutdown", async () => {
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${await freePort()}` };
  const shop = await Shop.start({ env: forAll(env) });
  try {
    assert.equal((await get(shop.url("web", "/"))).status, 200);
    const began = performance.now();
    assert.deepEqual(await shop.end("web", "SIGTERM"), { code: 0, signal: null });
    assert.ok(performance.now() - began < 5_000);
  } finally {
    await shop.stop();
  }
});
