/**
 * The state table: the newest value wins in every layer, a failed checkpoint takes nothing away, and what waits for one is
 * counted.
 */
import { describe, expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Catalog } from "../../../src/catalog/catalog.ts";
import { StateLayer } from "../../../src/log/state-layer.ts";
import { StateTable } from "../../../src/log/state-table.ts";
import { World } from "../../simulation/world.ts";

function newTable() {
	const catalog = new Catalog({ image: undefined, onCommit: () => {} });
	const table = new StateTable(catalog);
	const get = (key: string) => {
		const value = table.get(1, key);
		return value === undefined ? undefined : Buffer.from(value).toString();
	};
	const all = () =>
		Object.fromEntries([...table.scan(1, "")].map(([key, value]) => [key, Buffer.from(value).toString()]));
	const set = (key: string, value?: string) => table.set(1, key, value === undefined ? undefined : Buffer.from(value));
	const commit = () => {
		table.takeGathered();
		table.committed();
	};
	const checkpoint = () => {
		catalog.checkpoint(1, [], table.beginCheckpoint());
		table.checkpointed();
	};
	return { catalog, table, get, all, set, commit, checkpoint };
}

describe("the state table", () => {
	it("shows the newest value at every stage of its way", () => {
		const { get, all, set, commit, checkpoint, table, catalog } = newTable();
		set("a", "1");
		expect(get("a")).toBe("1");
		table.takeGathered();
		set("a", "2");
		expect(get("a")).toBe("2");
		table.takeGathered();
		expect(get("a")).toBe("2");
		table.committed();
		expect(get("a")).toBe("2");
		table.committed();
		expect(get("a")).toBe("2");
		checkpoint();
		expect([get("a"), Buffer.from(catalog.getState(1, "a") ?? []).toString()]).toEqual(["2", "2"]);
		set("a");
		set("b", "3");
		expect(all()).toEqual({ b: "3" });
		commit();
		expect(all()).toEqual({ b: "3" });
		expect(catalog.getState(1, "a")).toBeDefined();
		checkpoint();
		expect(all()).toEqual({ b: "3" });
		expect(catalog.getState(1, "a")).toBeUndefined();
	});

	it("keeps what a failed checkpoint was to write, under what came since", () => {
		const { get, all, set, commit, checkpoint, table } = newTable();
		set("a", "1");
		set("b", "1");
		set("c", "1");
		commit();
		table.beginCheckpoint();
		set("b", "2");
		set("c");
		commit();
		expect(all()).toEqual({ a: "1", b: "2" });
		table.checkpointFailed();
		expect(all()).toEqual({ a: "1", b: "2" });
		checkpoint();
		expect(all()).toEqual({ a: "1", b: "2" });
		expect(get("c")).toBeUndefined();
	});

	it("scans more than it reads from the catalog at a time, each row as it is now", () => {
		const { all, set, commit, checkpoint } = newTable();
		const expected: Record<string, string> = {};
		for (let i = 0; i < 1500; i++) set(`key ${i}`, "old");
		commit();
		checkpoint();
		for (let i = 0; i < 1500; i += 7) set(`key ${i}`, i % 2 === 0 ? "new" : undefined);
		for (let i = 0; i < 1500; i++) if (i % 14 === 0 || i % 7 !== 0) expected[`key ${i}`] = i % 7 === 0 ? "new" : "old";
		expect(all()).toEqual(expected);
		commit();
		expect(all()).toEqual(expected);
	});

	it("hands over each change once, the last of a key, and keeps spaces and prefixes apart", () => {
		const { table } = newTable();
		table.set(1, "k", Buffer.from("1"));
		table.set(1, "k", Buffer.from("2"));
		table.set(2, "k", Buffer.from("3"));
		table.set(1, "kk", Buffer.from("4"));
		expect(table.takeGathered()).toHaveLength(3);
		expect(table.takeGathered()).toEqual([]);
		expect([...table.scan(1, "kk")].map(([key]) => key)).toEqual(["kk"]);
		expect([...table.scan(2, "")].map(([key]) => key)).toEqual(["k"]);
		expect(Buffer.from(table.get(1, "k") as Uint8Array).toString()).toBe("2");
	});
});

describe("what waits for a checkpoint", () => {
	const MIB = 1024 * 1024;
	const value = (bytes: number) => Buffer.alloc(bytes);

	it("makes one due beyond 4 MiB, a replaced value counting once, and not for what is being written", () => {
		const { table, commit, catalog } = newTable();
		const put = (key: string, bytes: number) => {
			table.set(1, key, value(bytes));
			commit();
		};
		for (let i = 0; i < 20; i++) put("a", 2 * MIB);
		expect(table.checkpointDue).toBe(false);
		put("b", 1.9 * MIB);
		expect(table.checkpointDue).toBe(false);
		put("c", 0.2 * MIB);
		expect(table.checkpointDue).toBe(true);
		const written = table.beginCheckpoint();
		expect(table.checkpointDue).toBe(false);
		put("a", 1 * MIB);
		expect(table.checkpointDue).toBe(false);
		table.checkpointFailed();
		expect(table.checkpointDue).toBe(false);
		put("d", 1 * MIB);
		expect(table.checkpointDue).toBe(true);
		expect([...written]).toHaveLength(4);
		catalog.checkpoint(1, [], table.beginCheckpoint());
		table.checkpointed();
		expect(table.checkpointDue).toBe(false);
	});

	it("counts keys without values too", () => {
		const { table, commit } = newTable();
		for (let i = 0; i < 40_000; i++) table.set(1, `key ${i}`, value(0));
		commit();
		expect(table.checkpointDue).toBe(true);
	});

	it("is nothing of what came and went, but is the deletion of what the catalog has or is being given", () => {
		const { table, set, commit, checkpoint, get } = newTable();
		const pending = () => [...table.beginCheckpoint()].map(({ key, value: bytes }) => [key, bytes?.toString()]);
		set("stored", "1");
		commit();
		checkpoint();
		set("underway", "1");
		commit();
		table.beginCheckpoint();
		for (const now of ["2", undefined]) {
			for (const key of ["new", "stored", "underway"]) set(key, now);
			commit();
		}
		expect([get("new"), get("stored"), get("underway")]).toEqual([undefined, undefined, undefined]);
		table.checkpointFailed();
		expect(pending()).toEqual([["stored", undefined]]);
	});

	it("is written by a checkpoint that the log begins itself, once", async () => {
		const world = new World(new SimulatedRandom(5), {
			journalFileBytes: MIB,
			journalFilesMax: 3,
			lingerMs: 0,
			topicDefaults: {},
			tearNeighbours: true,
			syncMs: 1,
		});
		world.start();
		await world.finish(world.log.checkpoint());
		// The journal's next file is made meanwhile: one that is full would ask for a checkpoint as well.
		for (let i = 0; i < 100; i++) await world.clock.advanceToNext();
		const { counters } = world.log;
		const before = counters.checkpoints;
		const checkpoints = async (from: number, to: number) => {
			for (let i = from; i < to; i++) world.log.putState(1, `${i}`, value(0));
			await world.finish(world.log.whenCommitted());
			return counters.checkpoints - before;
		};
		expect(await checkpoints(0, 26_000)).toBe(0);
		expect(await checkpoints(0, 26_000)).toBe(0);
		expect(await checkpoints(26_000, 28_000)).toBe(1);
		expect(world.broker.catalog.getState(1, "27999")).toBeDefined();
		expect(await checkpoints(28_000, 32_000)).toBe(1);
		await world.stop();
	}, 30_000);
});

describe("a layer", () => {
	it("keeps its order and its owners through many changes", () => {
		const layer = new StateLayer();
		const model = new Map<string, number>();
		const random = new SimulatedRandom(1);
		const key = () => `${random.between(0, 20)}\0${random.between(0, 400)}`;
		for (let i = 0; i < 30_000; i++) {
			const name = key();
			if (random.chance(0.45)) {
				layer.remove(1, name);
				model.delete(name);
			} else {
				layer.set({ space: 1, key: name, value: Buffer.of(i & 0xff) });
				model.set(name, i & 0xff);
			}
			// Looked at now and then: what it made for the last look is worth more or less until the next.
			if (!random.chance(0.002)) continue;
			const from = key();
			const rising: string[] = [];
			for (let cursor = layer.cursor(1, from, undefined); cursor?.key !== undefined; cursor.next())
				rising.push(cursor.key);
			expect(rising).toEqual([...model.keys()].filter((other) => other >= from).sort());
			const owner = key().replace(/\0.*/, "\0");
			expect([...layer.matching(1, owner)].map((one) => one.key).sort()).toEqual(
				[...model.keys()].filter((other) => other.startsWith(owner)).sort(),
			);
		}
		expect(layer.bytes).toBe([...model.keys()].reduce((sum, name) => sum + 151 + name.length, 0));
	});
});
