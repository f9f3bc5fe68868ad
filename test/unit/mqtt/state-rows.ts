/** The log's state table as tests need it: a Map, counting what is written, and refusing when told to. */
import { BrokerError } from "../../../src/base/errors.ts";
import type { Log } from "../../../src/log/log.ts";

export class StateRows {
	readonly rows = new Map<string, Uint8Array>();
	writtenBytes = 0;
	full = false;

	putState(space: number, key: string, value: Uint8Array): void {
		if (this.full) throw new BrokerError("KAFKA_STORAGE_ERROR", "the disk is full");
		this.writtenBytes += key.length + value.length;
		this.rows.set(`${space}/${key}`, value);
	}
	deleteState(space: number, key: string): void {
		if (this.full) throw new BrokerError("KAFKA_STORAGE_ERROR", "the disk is full");
		this.rows.delete(`${space}/${key}`);
	}
	getState(space: number, key: string): Uint8Array | undefined {
		return this.rows.get(`${space}/${key}`);
	}
	*scanState(space: number, prefix: string): Iterable<[string, Uint8Array]> {
		for (const [name, value] of this.rows) {
			const key = name.slice(name.indexOf("/") + 1);
			if (name.startsWith(`${space}/`) && key.startsWith(prefix)) yield [key, value];
		}
	}
	pageState(space: number, from: string, to: string | undefined, limit: number): [string, Uint8Array][] {
		const rows = [...this.scanState(space, "")].filter(([key]) => key >= from && (to === undefined || key < to));
		return rows.sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, limit);
	}
	group<T>(_bytes: number, work: () => T): T {
		return work();
	}

	get log(): Log {
		return this as unknown as Log;
	}
}
