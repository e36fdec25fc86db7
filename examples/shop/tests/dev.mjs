// `npm run dev`: the shop on this machine alone, on its embedded profile, until Ctrl-C.

import { Shop } from "./shop.mjs";

const shop = await Shop.start({ ports: { web: Number(process.env.PORT ?? 4000) } });
console.log(`the shop is at ${shop.url("web", "/")}`);
process.once("SIGINT", () => shop.stop().then(() => process.exit(0)));
process.once("SIGTERM", () => shop.stop().then(() => process.exit(0)));
