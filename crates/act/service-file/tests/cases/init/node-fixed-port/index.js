const PORT = 4000; new (require("koa"))().listen(PORT);
