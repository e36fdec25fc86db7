-- State of format 1, as the first Stead wrote it. Frozen: never edit it.
PRAGMA application_id = 1398031684;
PRAGMA user_version = 1;
PRAGMA page_size = 4096;
BEGIN TRANSACTION;
CREATE TABLE entry (
         tenant TEXT NOT NULL,
         seq INTEGER NOT NULL,
         at INTEGER NOT NULL,           -- nanoseconds since 1970 UTC
         environment TEXT NOT NULL,
         id TEXT NOT NULL,
         kind TEXT NOT NULL,
         subject TEXT NOT NULL,
         actor TEXT NOT NULL,
         correlation TEXT NOT NULL,
         causation TEXT,
         why TEXT NOT NULL,
         body TEXT NOT NULL,            -- JSON
         body_digest TEXT NOT NULL,
         prev_hash TEXT NOT NULL,
         hash TEXT NOT NULL
     );
INSERT INTO "entry" VALUES('acme',1,1790000000000000000,'production','evt_01a1fa698d4971ec80f354f6e6f120f5','stead.service.changed.v1','service/checkout','user:ada','0af7651916cd43dd8448eb211c80319c',NULL,'a test','{"before":{"weight":1},"after":{"weight":0.1},"note":"ключ"}','b50d97248233baa1086abbe6fd1e9c31994a3b192ab0500e3e051b39ce8791b9','0000000000000000000000000000000000000000000000000000000000000000','74e7a44b46e6bd31fac98bd82ac93c376f2f6d49e8143bb706c6afb392f52006');
INSERT INTO "entry" VALUES('acme',2,1790000000000000000,'production','evt_01a1fa698d4a739891d77dc81ff9ca43','stead.service.changed.v1','service/checkout','user:ada','0af7651916cd43dd8448eb211c80319c','evt_0193a0b0c0d0e0f00112233445566778','a test','{"before":{"weight":2},"after":{"weight":0.1},"note":"ключ"}','d7c74f97a90b7380ff215a5f1f08e024269de06b043b101fd60a15161f00017f','74e7a44b46e6bd31fac98bd82ac93c376f2f6d49e8143bb706c6afb392f52006','ca306f53e582be8ca3487fa19e18dab03a40e70c49471ace86cd9c50f14c4d53');
CREATE TABLE lease (
         tenant TEXT NOT NULL,
         name TEXT NOT NULL,
         holder TEXT NOT NULL,
         token INTEGER NOT NULL,
         expires_at INTEGER NOT NULL,   -- nanoseconds since 1970 UTC
         ttl_nanos INTEGER NOT NULL,
         PRIMARY KEY (tenant, name)
     ) WITHOUT ROWID;
INSERT INTO "lease" VALUES('acme','reconciler','boot-1',1,1790000030000000000,30000000000);
CREATE TABLE message (
         tenant TEXT NOT NULL,
         seq INTEGER NOT NULL,
         topic TEXT NOT NULL,
         body TEXT NOT NULL,            -- JSON
         PRIMARY KEY (tenant, seq)
     ) WITHOUT ROWID;
INSERT INTO "message" VALUES('acme',5,'notify','{"n":1}');
CREATE TABLE outbox (              -- the last sequence given and how many wait
         tenant TEXT NOT NULL PRIMARY KEY,
         seq INTEGER NOT NULL,
         waiting INTEGER NOT NULL
     ) WITHOUT ROWID;
INSERT INTO "outbox" VALUES('acme',5,1);
CREATE TABLE record (
         tenant TEXT NOT NULL,
         kind TEXT NOT NULL,
         id TEXT NOT NULL,
         environment TEXT NOT NULL,
         version INTEGER NOT NULL,
         updated_at INTEGER NOT NULL,   -- nanoseconds since 1970 UTC
         terms TEXT NOT NULL,           -- JSON: [[name, value], ...]
         body TEXT NOT NULL             -- JSON
     );
INSERT INTO "record" VALUES('acme','service','checkout','production',3,1790000000000000000,'[["owner","team-pay"]]','{"tier":"critical","weight":0.1}');
CREATE TABLE term (
         tenant TEXT NOT NULL,
         kind TEXT NOT NULL,
         name TEXT NOT NULL,
         value TEXT NOT NULL,
         id TEXT NOT NULL,
         environment TEXT NOT NULL,
         PRIMARY KEY (tenant, kind, name, value, id, environment)
     ) WITHOUT ROWID;
INSERT INTO "term" VALUES('acme','service','owner','team-pay','checkout','production');
CREATE UNIQUE INDEX record_key ON record (tenant, kind, id, environment);
CREATE UNIQUE INDEX entry_place ON entry (tenant, seq);
CREATE INDEX entry_subject ON entry (tenant, subject, seq);
CREATE INDEX entry_correlation ON entry (tenant, correlation, seq);
COMMIT;
