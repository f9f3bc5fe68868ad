/** The state table: the newest value wins in every layer, and a failed checkpoint takes nothing away. */
import { describe, expect, it } from "vitest";
import { Catalog } from "../../../src/catalog/catalog.ts";
import { StateTable } from "../../../src/log/state-table.ts";

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
