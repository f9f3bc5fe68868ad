/**
 * The state table against one sorted list that knows of no layers, under every order of changes, commits and checkpoints;
 * and the order of keys against that of their bytes.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Catalog } from "../../../src/catalog/catalog.ts";
import { behindPrefix, compareKeys, firstNotBefore, sortKeys } from "../../../src/log/key-order.ts";
import { StateTable } from "../../../src/log/state-table.ts";

/** Few keys, so that they meet; with owners, and with characters that UTF-16 sorts elsewhere. */
const parts = fc.constantFrom("", "a", "b", "\0", "\0", "/", "\ud7ff", "\ue000", "\uffff", "\u{10000}", "\u{10ffff}");
const keys = fc.array(parts, { maxLength: 4 }).map((list) => list.join(""));
const spaces = fc.constantFrom(1, 2);
const values = fc.option(
	fc.uint8Array({ maxLength: 12 }).map((bytes) => Buffer.from(bytes)),
	{ nil: undefined },
);
const byBytes = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b));

const steps = fc.oneof(
	{ weight: 12, arbitrary: fc.record({ kind: fc.constant("set" as const), space: spaces, key: keys, value: values }) },
	{ weight: 3, arbitrary: fc.record({ kind: fc.constant("close" as const) }) },
	{ weight: 3, arbitrary: fc.record({ kind: fc.constant("durable" as const) }) },
	{ weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("begin" as const, "end" as const, "fail" as const) }) },
	{ weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("restart" as const, "settle" as const) }) },
	{
		weight: 4,
		arbitrary: fc.record({
			kind: fc.constant("page" as const),
			space: spaces,
			from: keys,
			to: fc.option(keys, { nil: undefined }),
			limit: fc.integer({ min: 1, max: 5 }),
			bytesMax: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
		}),
	},
	{ weight: 4, arbitrary: fc.record({ kind: fc.constant("scan" as const), space: spaces, prefix: keys }) },
	{ weight: 2, arbitrary: fc.record({ kind: fc.constant("get" as const), space: spaces, key: keys }) },
);

type Step = typeof steps extends fc.Arbitrary<infer T> ? T : never;
type Change = { space: number; key: string; value: Uint8Array | undefined };

/** The table on a catalog, beside what both must show. */
class Pair {
	readonly #catalog = new Catalog({ image: undefined, onCommit: () => {} });
	#table = new StateTable(this.#catalog);
	readonly model = new Map<string, Buffer>();
	/** What a journal would have: commits that a checkpoint does not cover yet. */
	#journal: Change[] = [];
	#inFlight: Change[][] = [];
	#checkpoint: { changes: Iterable<Change>; covers: number } | undefined;

	rows(space: number, within: (key: string) => boolean): [string, string][] {
		return [...this.model]
			.filter(([name]) => name.startsWith(`${space}:`) && within(name.slice(2)))
			.map(([name, value]): [string, string] => [name.slice(2), value.toString("hex")])
			.sort(([a], [b]) => byBytes(a, b));
	}

	take(step: Step): void {
		switch (step.kind) {
			case "set": {
				const { space, key, value } = step;
				this.#table.set(space, key, value);
				if (value === undefined) this.model.delete(`${space}:${key}`);
				else this.model.set(`${space}:${key}`, value);
				break;
			}
			case "close":
				this.#inFlight.push(this.#table.takeGathered());
				break;
			case "durable": {
				const changes = this.#inFlight.shift();
				if (changes === undefined) break;
				this.#journal.push(...changes);
				this.#table.committed();
				break;
			}
			case "begin":
				this.#checkpoint ??= { changes: this.#table.beginCheckpoint(), covers: this.#journal.length };
				break;
			case "end":
				if (this.#checkpoint === undefined) break;
				this.#catalog.checkpoint(1, [], this.#checkpoint.changes);
				this.#table.checkpointed();
				this.#journal.splice(0, this.#checkpoint.covers);
				this.#checkpoint = undefined;
				break;
			case "fail":
				if (this.#checkpoint === undefined) break;
				this.#table.checkpointFailed();
				this.#checkpoint = undefined;
				break;
			case "settle":
				this.#finish();
				for (const kind of ["end", "begin", "end"] as const) this.take({ kind });
				break;
			case "restart":
				// Orderly, so that the model holds.
				this.#finish();
				this.#checkpoint = undefined;
				this.#table = new StateTable(this.#catalog);
				for (const change of this.#journal) this.#table.replayed(change);
				break;
			case "page":
				this.#page(step);
				break;
			case "scan": {
				const { space, prefix } = step;
				const found = [...this.#table.scan(space, prefix)].map(([key, value]): [string, string] => [key, hex(value)]);
				found.sort(([a], [b]) => byBytes(a, b));
				expect(found).toEqual(this.rows(space, (key) => key.startsWith(prefix)));
				break;
			}
			case "get": {
				const value = this.#table.get(step.space, step.key);
				expect(value && hex(value)).toBe(this.model.get(`${step.space}:${step.key}`)?.toString("hex"));
			}
		}
	}

	/** All that is gathered becomes durable. */
	#finish(): void {
		this.take({ kind: "close" });
		while (this.#inFlight.length > 0) this.take({ kind: "durable" });
	}

	#page({ space, from, to, limit, bytesMax }: Step & { kind: "page" }): void {
		const expected = this.rows(
			space,
			(key) => byBytes(key, from) >= 0 && (to === undefined || byBytes(key, to) < 0),
		).slice(0, limit);
		let bytes = 0;
		const within = expected.filter(([, value]) => {
			const room = bytesMax === undefined || bytes < bytesMax;
			bytes += value.length / 2;
			return room;
		});
		const found = this.#table.page(space, from, to, limit, bytesMax);
		expect(found.map(([key, value]) => [key, hex(value)])).toEqual(within);
	}

	close(): void {
		this.#catalog.close();
	}
}

function hex(value: Uint8Array): string {
	return Buffer.from(value).toString("hex");
}

describe("the state table", () => {
	it("loses no row of a page to rows that were deleted since the checkpoint", () => {
		const names = fc.uniqueArray(keys, { maxLength: 40 });
		fc.assert(
			fc.property(names, fc.array(fc.boolean()), fc.integer({ min: 1, max: 5 }), (list, deleted, limit) => {
				const pair = new Pair();
				for (const key of list) pair.take({ kind: "set", space: 1, key, value: Buffer.of(1) });
				pair.take({ kind: "settle" });
				for (const [i, key] of list.entries())
					if (deleted[i] !== false) pair.take({ kind: "set", space: 1, key, value: undefined });
				for (const from of ["", ...list])
					pair.take({ kind: "page", space: 1, from, to: undefined, limit, bytesMax: undefined });
				pair.close();
			}),
		);
	});

	it("shows what one sorted list would, page by page, by prefix and by key, whatever its layers hold", () => {
		fc.assert(
			fc.property(fc.array(steps, { minLength: 20, maxLength: 120 }), (list) => {
				const pair = new Pair();
				try {
					for (const step of list) pair.take(step);
					for (const space of [1, 2] as const) pair.take({ kind: "scan", space, prefix: "" });
					pair.take({ kind: "restart" });
					for (const space of [1, 2] as const) pair.take({ kind: "scan", space, prefix: "" });
				} finally {
					pair.close();
				}
			}),
			{ numRuns: 300 },
		);
	});
});

describe("the order of keys", () => {
	const texts = fc.oneof(keys, fc.string({ unit: "binary", maxLength: 6 }));

	it("is that of their UTF-8 bytes", () => {
		fc.assert(
			fc.property(fc.array(texts), (list) => {
				expect(sortKeys([...list])).toEqual([...list].sort(byBytes));
				for (const [i, a] of list.entries()) {
					const b = list[i + 1] ?? "";
					expect(Math.sign(compareKeys(a, b))).toBe(Math.sign(byBytes(a, b)));
				}
			}),
			{ numRuns: 300 },
		);
	});

	it("finds its place in a sorted list", () => {
		fc.assert(
			fc.property(fc.array(texts), texts, (list, key) => {
				const sorted = sortKeys(list);
				expect(firstNotBefore(sorted, key)).toBe(sorted.filter((other) => byBytes(other, key) < 0).length);
			}),
		);
	});

	it("has behind a prefix exactly what does not begin with it and comes later", () => {
		fc.assert(
			fc.property(texts, texts, (prefix, rest) => {
				const behind = behindPrefix(prefix);
				const within = (key: string) => byBytes(key, prefix) >= 0 && (behind === undefined || byBytes(key, behind) < 0);
				expect(within(prefix + rest)).toBe(true);
				expect(within(rest)).toBe(rest.startsWith(prefix));
				if (behind !== undefined) expect(behind.isWellFormed()).toBe(true);
			}),
			{ numRuns: 500 },
		);
	});
});
