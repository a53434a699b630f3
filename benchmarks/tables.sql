-- The tables of the peers that have no store of their own: what a team would make for this work, with the same facts as
-- penstock's. Times are microseconds since the epoch, UTC. Keys compare by code point, as penstock's do.

CREATE TABLE payload (
  payload_hash text COLLATE "C" PRIMARY KEY,
  bytes bytea NOT NULL,                 -- a zstd frame
  size bigint NOT NULL
);
ALTER TABLE payload ALTER COLUMN bytes SET STORAGE EXTERNAL;

CREATE TABLE page (
  source text COLLATE "C" NOT NULL,
  item_key text COLLATE "C" NOT NULL,
  url text,
  content_hash text COLLATE "C" NOT NULL,
  first_seen bigint NOT NULL,
  last_seen bigint NOT NULL,
  PRIMARY KEY (source, item_key)
);

CREATE TABLE revision (
  source text COLLATE "C" NOT NULL,
  item_key text COLLATE "C" NOT NULL,
  content_hash text COLLATE "C" NOT NULL,
  payload_hash text COLLATE "C" NOT NULL,
  seen_at bigint NOT NULL,
  title text,
  published_at timestamptz,
  wire_service text,
  desk_code text,
  body text NOT NULL,                   -- a paragraph a line
  related text NOT NULL,                -- JSON
  parser text NOT NULL,
  parser_version bigint NOT NULL,
  PRIMARY KEY (source, item_key, content_hash)
);

CREATE TABLE item (
  source text COLLATE "C" NOT NULL,
  item_key text COLLATE "C" NOT NULL,
  url text,
  state text NOT NULL,                  -- due or fetched
  discovered_by text COLLATE "C",
  discovered_at bigint NOT NULL,
  PRIMARY KEY (source, item_key)
);
CREATE INDEX item_due ON item (source, discovered_at) WHERE state = 'due';

CREATE TABLE failure (
  payload_hash text COLLATE "C" PRIMARY KEY,
  source text COLLATE "C" NOT NULL,
  item_key text COLLATE "C" NOT NULL,
  error_class text NOT NULL,
  message text NOT NULL,
  failed_at bigint NOT NULL
);

-- One row for each payload that was handled: an observation that comes twice is settled once.
CREATE TABLE delivery (
  source text COLLATE "C" NOT NULL,
  item_key text COLLATE "C" NOT NULL,
  observed_at bigint NOT NULL,
  payload_hash text COLLATE "C" NOT NULL,
  outcome text NOT NULL,
  handled_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (source, item_key, observed_at, payload_hash)
);
