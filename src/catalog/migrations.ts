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
	`
	-- Compaction has done with all records before it.
	ALTER TABLE partitions ADD COLUMN cleaned_offset INTEGER NOT NULL DEFAULT 0;

	-- Segments that compaction wrote: they stand for the offsets from base_offset up to next_offset, and not every one
	-- of those is in them. crc: CRC-32C of the whole .log file.
	CREATE TABLE cleaned_segments (
		partition_id INTEGER NOT NULL,
		base_offset INTEGER NOT NULL,
		next_offset INTEGER NOT NULL,
		size_bytes INTEGER NOT NULL,
		crc INTEGER NOT NULL,
		PRIMARY KEY (partition_id, base_offset)
	) STRICT, WITHOUT ROWID;

	-- The one segment of a partition whose files have not all taken the place of those that they replace.
	-- replaced: a JSON list of the base offsets of the others that go.
	CREATE TABLE segment_swaps (
		partition_id INTEGER PRIMARY KEY,
		base_offset INTEGER NOT NULL,
		replaced TEXT NOT NULL
	) STRICT;
	`,
	`
	-- Records before local_start_offset are no longer in this partition's own files; those before tiered_offset, from the
	-- log start on, are in the object store.
	ALTER TABLE partitions ADD COLUMN local_start_offset INTEGER NOT NULL DEFAULT 0;
	ALTER TABLE partitions ADD COLUMN tiered_offset INTEGER NOT NULL DEFAULT 0;

	-- Where each leader epoch of a partition begins; a partition without rows has epoch 0 from offset 0 on.
	CREATE TABLE leader_epochs (
		partition_id INTEGER NOT NULL,
		epoch INTEGER NOT NULL,
		start_offset INTEGER NOT NULL,
		PRIMARY KEY (partition_id, epoch)
	) STRICT, WITHOUT ROWID;

	-- Objects in the object store. state: uploading (may be there, in part or wholly, and counts for nothing), stored
	-- (confirmed), deleting (is to be removed there, and the row then). has_snapshot: it carries what a restore needs beside
	-- records. deletable_behind: one with a larger id and a snapshot, which does not call for its records any more, must be
	-- stored before this one is removed.
	CREATE TABLE bundles (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		incarnation INTEGER NOT NULL,
		sequence INTEGER NOT NULL,
		key TEXT NOT NULL UNIQUE,
		created_ms INTEGER NOT NULL,
		size_bytes INTEGER NOT NULL,
		has_snapshot INTEGER NOT NULL DEFAULT 0,
		deletable_behind INTEGER NOT NULL DEFAULT 0,
		state TEXT NOT NULL CHECK (state IN ('uploading', 'stored', 'deleting'))
	) STRICT;

	-- A partition's records in a stored bundle: it stands for all offsets from base_offset up to next_offset. stored_bytes:
	-- in the object, raw_bytes: as record batches. blocks: where each of its blocks lies (docs/bundle-format.md).
	CREATE TABLE ranges (
		partition_id INTEGER NOT NULL,
		base_offset INTEGER NOT NULL,
		next_offset INTEGER NOT NULL,
		bundle_id INTEGER NOT NULL REFERENCES bundles (id),
		stored_bytes INTEGER NOT NULL,
		raw_bytes INTEGER NOT NULL,
		max_timestamp INTEGER NOT NULL,
		blocks BLOB NOT NULL,
		PRIMARY KEY (partition_id, base_offset)
	) STRICT, WITHOUT ROWID;
	CREATE INDEX ranges_by_bundle ON ranges (bundle_id);
	`,
];
