/** A log that is a state table alone: what retained messages need of one, with commits and checkpoints made by hand. */
import { silentLogger } from "../../../src/base/logger.ts";
import { Catalog } from "../../../src/catalog/catalog.ts";
import type { Log } from "../../../src/log/log.ts";
import { StateTable } from "../../../src/log/state-table.ts";

export class TableLog {
	readonly catalog = new Catalog({ image: undefined, onCommit: () => {} });
	readonly table = new StateTable(this.catalog);
	readonly services = { logger: { ...silentLogger, error: (message: string) => this.errors.push(message) } };
	readonly errors: string[] = [];
	/** Calls of pageState and the rows it gave. */
	pages = 0;
	rows = 0;
	refusal: Error | undefined;

	getState(space: number, key: string): Uint8Array | undefined {
		return this.table.get(space, key);
	}
	putState(space: number, key: string, value: Uint8Array): void {
		if (this.refusal !== undefined) throw this.refusal;
		this.table.set(space, key, value);
	}
	deleteState(space: number, key: string): void {
		if (this.refusal !== undefined) throw this.refusal;
		this.table.set(space, key, undefined);
	}
	pageState(space: number, from: string, to: string | undefined, limit: number, bytesMax?: number) {
		const rows = this.table.page(space, from, to, limit, bytesMax);
		this.pages++;
		this.rows += rows.length;
		return rows;
	}
	group<T>(_bytes: number, work: () => T): T {
		return work();
	}

	commit(): void {
		this.table.takeGathered();
		this.table.committed();
	}
	checkpoint(): void {
		this.catalog.checkpoint(1, [], this.table.beginCheckpoint());
		this.table.checkpointed();
	}

	get log(): Log {
		return this as unknown as Log;
	}
}
