-- jobs: what changes while a job lives. Its fixed part is in specs, its answer in results, its
-- attempts without success in attempts, so that the many small updates never rewrite a large value. n only
-- ties the four tables together.
CREATE TABLE IF NOT EXISTS jobs (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  state TEXT NOT NULL,
  queue TEXT NOT NULL,
  task TEXT NOT NULL,
  rank INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,
  losses INTEGER NOT NULL DEFAULT 0,
  crashes INTEGER NOT NULL DEFAULT 0,
  handbacks INTEGER NOT NULL DEFAULT 0,
  token INTEGER NOT NULL DEFAULT 0,
  worker TEXT,
  cancel INTEGER NOT NULL DEFAULT 0,
  started_at INTEGER,
  finished_at INTEGER,
  fraction REAL,
  message TEXT,
  error BLOB,
  client TEXT,
  idempotency_key TEXT,
  fingerprint TEXT NOT NULL,
  waiters INTEGER NOT NULL DEFAULT 1,
  cached INTEGER NOT NULL DEFAULT 0,
  line TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS specs (n INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS results (n INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS attempts (n INTEGER PRIMARY KEY, body BLOB NOT NULL);

CREATE INDEX IF NOT EXISTS jobs_scheduled ON jobs (due_at) WHERE state = 'scheduled';
CREATE INDEX IF NOT EXISTS jobs_running ON jobs (worker) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS jobs_failed ON jobs (id) WHERE state = 'failed';
CREATE INDEX IF NOT EXISTS jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS jobs_idempotency
  ON jobs (coalesce(client, ''), idempotency_key) WHERE idempotency_key IS NOT NULL;

-- events: the ordered feed. There is one writer at a time, so seq grows in the order of commits.
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at INTEGER NOT NULL,
  job_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  data BLOB NOT NULL
);

-- workers: one lease each. A running job whose worker is not here with a live lease can be reclaimed.
CREATE TABLE IF NOT EXISTS workers (
  id TEXT PRIMARY KEY,
  info BLOB,
  lease_until INTEGER NOT NULL,
  seen_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS paused (queue TEXT PRIMARY KEY) WITHOUT ROWID;

-- depths: how many jobs of each state a queue has, kept by every verb so that reading it costs nothing.
CREATE TABLE IF NOT EXISTS depths (
  queue TEXT NOT NULL,
  state TEXT NOT NULL,
  jobs INTEGER NOT NULL,
  PRIMARY KEY (queue, state)
) WITHOUT ROWID;

-- waits: which job waits for which. Rows go when the one that is waited for ends, or the one that waits.
CREATE TABLE IF NOT EXISTS waits (
  ahead TEXT NOT NULL,
  follower TEXT NOT NULL,
  PRIMARY KEY (ahead, follower)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waits_follower ON waits (follower);

-- families: of a job that was split, how far its parts have come; the first "ready" of them have ended. Parts are
-- withdrawn in pages: "mode" says how (see family.py), "busy" that there are some left.
CREATE TABLE IF NOT EXISTS families (
  n INTEGER PRIMARY KEY AUTOINCREMENT,
  parent TEXT,
  total INTEGER NOT NULL DEFAULT 0,
  known INTEGER NOT NULL DEFAULT 0,
  done INTEGER NOT NULL DEFAULT 0,
  failed INTEGER NOT NULL DEFAULT 0,
  merged INTEGER NOT NULL DEFAULT 0,
  ready INTEGER NOT NULL DEFAULT 0,
  mode TEXT NOT NULL DEFAULT 'merged',
  busy INTEGER NOT NULL DEFAULT 0,
  partial BLOB
);
CREATE UNIQUE INDEX IF NOT EXISTS families_parent ON families (parent) WHERE parent IS NOT NULL;
CREATE INDEX IF NOT EXISTS families_busy ON families (n) WHERE busy;
-- deadlines: when jobs that were split must have ended, counted from their first start.
CREATE TABLE IF NOT EXISTS deadlines (parent TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deadlines_at ON deadlines (at);
CREATE TABLE IF NOT EXISTS parts (
  family INTEGER NOT NULL,
  number INTEGER NOT NULL,
  n INTEGER NOT NULL UNIQUE,
  PRIMARY KEY (family, number)
) WITHOUT ROWID;

-- lines: those of clients and limited tasks that have jobs waiting, by the rank of the first, see lines.py.
CREATE TABLE IF NOT EXISTS lines (
  queue TEXT NOT NULL,
  line TEXT NOT NULL,
  rank INTEGER NOT NULL,
  PRIMARY KEY (queue, line)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS lines_ranked ON lines (queue, rank);

-- terms: what submissions last said of a client's weight, and of how many jobs of a task may run.
CREATE TABLE IF NOT EXISTS terms (
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  value INTEGER NOT NULL,
  PRIMARY KEY (kind, name)
) WITHOUT ROWID;

-- served: the tags of those whom the workers of the same queues serve, see core.fairness.
CREATE TABLE IF NOT EXISTS served (
  crew TEXT NOT NULL,
  band INTEGER NOT NULL,
  client TEXT NOT NULL,
  tag INTEGER NOT NULL,
  PRIMARY KEY (crew, band, client)
) WITHOUT ROWID;

-- shelves: small documents that all nodes share.
CREATE TABLE IF NOT EXISTS shelves (
  shelf TEXT NOT NULL,
  name TEXT NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (shelf, name)
) WITHOUT ROWID;

-- flights: of jobs with one fingerprint the one whose answer will be given to others; answers: the one whose
-- answer is, and until when. joins: the submissions that joined a job in flight; joined_keys: their keys.
CREATE TABLE IF NOT EXISTS flights (
  fingerprint TEXT PRIMARY KEY,
  n INTEGER NOT NULL UNIQUE,
  keep_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
  fingerprint TEXT PRIMARY KEY,
  n INTEGER NOT NULL UNIQUE,
  until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_until ON answers (until);
CREATE TABLE IF NOT EXISTS joins (n INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (n, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS joined_keys (
  client TEXT NOT NULL,
  name TEXT NOT NULL,
  n INTEGER NOT NULL,
  PRIMARY KEY (client, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS joined_keys_n ON joined_keys (n);
CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;

-- drained: how many jobs of a queue ended in ten seconds.
CREATE TABLE IF NOT EXISTS drained (
  slot INTEGER NOT NULL,
  queue TEXT NOT NULL,
  jobs INTEGER NOT NULL,
  PRIMARY KEY (slot, queue)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS tokens (last INTEGER NOT NULL);
INSERT INTO tokens SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM tokens);
