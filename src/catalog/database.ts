/**
 * The one place that knows SQLite. Opens the catalog's database, alone: the lock it holds is what
 * keeps a second process out of a data directory. Every transaction is durable when it returns
 * (synchronous=FULL). Schema changes are numbered migrations; a newer schema is refused.
 */
import Sqlite from "better-sqlite3";
import { StartError } from "../base/errors.ts";
import { MIGRATIONS } from "./migrations.ts";

export type Database = Sqlite.Database;
export type Statement = Sqlite.Statement<unknown[]>;

/** Where the database lives: a file (readOnly: its schema and content stay as they are), or (simulation) memory, with an image of every durable state. */
export type DatabaseLocation =
	| { readonly file: string; readonly readOnly?: boolean }
	| { readonly image: Buffer | undefined; readonly onCommit: (takeImage: () => Buffer) => void };

export function openDatabase(location: DatabaseLocation): Database {
	const db = "file" in location ? openFile(location.file, location.readOnly === true) : openImage(location.image);
	try {
		migrate(db, "file" in location ? location.file : "the catalog", "file" in location && location.readOnly === true);
	} catch (error) {
		db.close();
		throw error;
	}
	return db;
}

function openFile(file: string, readOnly: boolean): Database {
	// Even to read only, the lock is taken for writing: what SQLite's own log has must be readable.
	const db = new Sqlite(file, { timeout: 0, fileMustExist: readOnly });
	try {
		db.pragma("locking_mode = EXCLUSIVE");
		db.pragma("journal_mode = WAL");
		db.pragma("synchronous = FULL");
		db.pragma("wal_autocheckpoint = 64");
		db.pragma("cache_size = -512");
		db.pragma("temp_store = MEMORY");
		// Takes the lock now rather than at the first write.
		db.exec("BEGIN EXCLUSIVE; COMMIT");
	} catch (error) {
		db.close();
		if ((error as { code?: string }).code?.startsWith("SQLITE_BUSY") === true) throw new CatalogInUse(file);
		if ((error as { code?: string }).code === "SQLITE_NOTADB")
			throw new StartError(`${file} is not a catalog: restore it from a backup, or move the data directory away`);
		throw error;
	}
	return db;
}

function openImage(image: Buffer | undefined): Database {
	const db = image === undefined ? new Sqlite(":memory:") : new Sqlite(image);
	db.pragma("journal_mode = MEMORY");
	return db;
}

function migrate(db: Database, name: string, readOnly: boolean): void {
	const version = db.pragma("user_version", { simple: true }) as number;
	if (version > MIGRATIONS.length) {
		throw new StartError(
			`${name} has catalog format ${version}, this headwater knows formats up to ${MIGRATIONS.length}: ` +
				"install the newer headwater that wrote it, or use another data directory",
		);
	}
	if (readOnly) return;
	for (let next = version; next < MIGRATIONS.length; next++) {
		db.transaction(() => {
			db.exec(MIGRATIONS[next] as string);
			db.pragma(`user_version = ${next + 1}`);
		})();
	}
}

/** Another process holds the catalog's lock. */
export class CatalogInUse extends Error {
	override readonly name = "CatalogInUse";

	constructor(file: string) {
		super(`${file} is in use by another process`);
	}
}
