import { startBackend } from "./server";

// For work on pages: `npm run build`, then `npm run dev:fixtures`; or `npm run dev` beside it.
const port = Number(process.env.PORT ?? 4400);
const backend = await startBackend({ port });
console.log(`${backend.url}/sign-in#${backend.link}`);
