/** The catalog's schema, as the steps that made it. A step that has shipped is never changed. */
export const MIGRATIONS: readonly string[] = [
	`
	CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

	-- config: a JSON object of the overrides only, under Kafka's names.
	CREATE TABLE topics (
		id TEXT PRIMARY KEY,
		name TEXT NOT NULL UNIQUE,
		created_ms INTEGER NOT NULL,
		config TEXT NOT NULL
	) STRICT;

	-- A partition's id stands for it in the journal and is never given out again. All records
	-- before checkpoint_offset are in segments that are synced; segment is a JSON object that
	-- says how far the active segment's files were good then.
	CREATE TABLE partitions (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		topic_id TEXT NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
		number INTEGER NOT NULL,
		log_start_offset INTEGER NOT NULL DEFAULT 0,
		checkpoint_offset INTEGER NOT NULL DEFAULT 0,
		segment TEXT,
		UNIQUE (topic_id, number)
	) STRICT;

	-- Deleted topics whose folders may still be there.
	CREATE TABLE deleted_topics (id TEXT PRIMARY KEY, name TEXT NOT NULL) STRICT, WITHOUT ROWID;

	-- What the journal's state operations add up to, as of the checkpoint.
	CREATE TABLE state (
		space INTEGER NOT NULL,
		key TEXT NOT NULL,
		value BLOB NOT NULL,
		PRIMARY KEY (space, key)
	) STRICT, WITHOUT ROWID;

	-- Acknowledged records that are gone for another reason than retention.
	CREATE TABLE losses (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		time_ms INTEGER NOT NULL,
		topic TEXT NOT NULL,
		partition INTEGER NOT NULL,
		first_offset INTEGER NOT NULL,
		count INTEGER NOT NULL,
		reason TEXT NOT NULL
	) STRICT;
	`,
];
