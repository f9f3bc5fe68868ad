/** Records that the central cluster refuses: kept here once, with where they were and why, whatever crashes. */
import { describe, expect, it, vi } from "vitest";
import { Quarantine } from "../../../bridge/upstream/shipment/quarantine.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import type { Partition } from "../../../src/log/partition.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import { encodeBatch, type LogRecord } from "../../../src/record/batch.ts";
import type { Codec } from "../../../src/record/compression.ts";
import { recordsIn, World } from "../../simulation/world.ts";

const ASIDE = "__headwater_quarantine";

class Lab {
	readonly random = new SimulatedRandom("quarantine");
	readonly world = new World(this.random, {
		journalFileBytes: 4 * 1024 * 1024,
		journalFilesMax: 4,
		lingerMs: 0,
		topicDefaults: { "log.segment.bytes": "65536", "message.max.bytes": "2000000" },
		tearNeighbours: true,
		syncMs: 5,
	});
	quarantine!: Quarantine;

	constructor() {
		this.world.start();
		this.world.broker.topics.create({ name: "t", partitions: 2 });
		this.#open();
	}

	#open(): void {
		this.quarantine = new Quarantine(this.world.broker, ASIDE);
	}

	async restart(kind?: "power cut" | "kill"): Promise<void> {
		if (kind === undefined) await this.world.stop();
		else await this.world.crash(kind, this.random);
		this.world.start();
		this.#open();
	}

	get t(): Partition {
		return this.world.partition("t", 0) as Partition;
	}

	/** Batches of `t`, one for each list; a value may be null. */
	async fill(batches: readonly (readonly (string | Buffer | null)[])[], codec: Codec = "none"): Promise<void> {
		for (const values of batches) {
			const records = values.map((value, i) => ({
				timestamp: 1000 + i,
				key: i % 2 === 0 ? Buffer.from(`key ${i}`) : null,
				value: value === null ? null : Buffer.from(value),
				headers: [{ key: "own", value: Buffer.from(`${i}`) }],
			}));
			await this.append(this.t, encodeBatch(records, { codec }), records.length);
		}
	}

	async append(partition: Partition, batch: Buffer, count: number): Promise<void> {
		partition.appendBatch(batch, count);
		await this.world.finish(this.world.log.whenCommitted());
	}

	hold(offsets: readonly number[], reason = "too old", partition = this.t): Promise<void> {
		return this.world.finish(this.quarantine.hold(offsets.map((offset) => ({ partition, offset, reason }))));
	}

	async held(): Promise<ReturnType<typeof recordsIn>> {
		const aside = this.world.partition(ASIDE, 0);
		if (aside === undefined) return [];
		const found: ReturnType<typeof recordsIn> = [];
		for (let next = 0; next < aside.highWatermark; next = (found.at(-1)?.offset ?? 0) + 1)
			found.push(...recordsIn(await this.world.finish(aside.read(next, 1_000_000))));
		return found;
	}

	/** Offsets in `t` of what is held, in the order in which it is held. */
	async offsets(): Promise<number[]> {
		return (await this.held()).map((record) => Number(header(record, "offset")));
	}

	get losses(): readonly (readonly [number, number, string])[] {
		return this.world.broker.catalog.losses().map(({ firstOffset, count, reason }) => [firstOffset, count, reason]);
	}

	get rows(): string[] {
		return [...this.world.log.scanState(StateSpace.UPSTREAM, "q\0")].map(([key]) => key);
	}
}

type Held = Awaited<ReturnType<Lab["held"]>>[number];
const header = (record: Held, name: string) =>
	record.headers.find(([key]) => key === `headwater.${name}`)?.[1]?.toString();
const text = (value: LogRecord["value"]) => value?.toString() ?? null;

describe("a quarantine", () => {
	it("has the record as it was, and says where it was and why it was refused", async () => {
		const lab = new Lab();
		await lab.fill([["a", "b", null], ["c"]], "zstd");
		const nowMs = lab.world.clock.now();
		await lab.hold([1, 2]);
		const [one, other] = await lab.held();
		expect([one?.key, text(one?.value ?? null), one?.timestamp]).toEqual([null, "b", nowMs]);
		expect(one?.headers.map(([name, value]) => [name, value?.toString()])).toEqual([
			["own", "1"],
			["headwater.topic", "t"],
			["headwater.partition", "0"],
			["headwater.offset", "1"],
			["headwater.timestamp", "1001"],
			["headwater.reason", "too old"],
		]);
		expect([text(other?.key ?? null), other?.value, header(other as Held, "offset")]).toEqual(["key 2", null, "2"]);
		expect(lab.losses).toEqual([[1, 2, "not sent upstream: too old"]]);
		expect(lab.world.lines.map(({ message }) => message)).toEqual(["records are not sent upstream, and kept aside"]);
	});

	it("has a topic that keeps what is there for any time, but not without bound", async () => {
		const lab = new Lab();
		await lab.fill([["a"]]);
		expect(lab.world.broker.topics.get(ASIDE)).toBeUndefined();
		await lab.hold([0]);
		const topic = lab.world.broker.topics.get(ASIDE);
		expect(topic?.partitions.length).toBe(1);
		expect(topic?.partitions[0]?.config).toMatchObject({
			cleanupPolicy: { delete: true, compact: false },
			retentionMs: -1,
			retentionBytes: 67_108_864,
			segmentBytes: 8_388_608,
		});
	});

	it("has each once, however often and in whatever order they are held, and however it ended", async () => {
		const lab = new Lab();
		await lab.fill([["a", "b", "c"], ["d", "e"], ["f"]]);
		await lab.hold([4, 1]);
		await lab.hold([1, 4, 5]);
		expect(await lab.offsets()).toEqual([1, 4, 5]);
		for (const kind of ["power cut", "kill", undefined] as const) {
			await lab.restart(kind);
			await lab.hold([5, 3, 1]);
			expect(await lab.offsets()).toEqual([1, 4, 5, 3]);
		}
		const again = [lab.hold([0, 2]), lab.hold([2, 0])];
		await Promise.all(again);
		expect((await lab.offsets()).sort()).toEqual([0, 1, 2, 3, 4, 5]);
		expect(lab.world.broker.catalog.lostRecords()).toBe(6);
	});

	it("is whole or not there after a power cut at any moment; the next try completes it", async () => {
		for (let steps = 0; steps < 12; steps++) {
			const lab = new Lab();
			await lab.fill([["a", "b", "c", "d"]]);
			const offsets = [0, 2, 3];
			const work = lab.quarantine.hold(
				offsets.map((offset) => ({ partition: lab.t, offset, reason: `old ${offset}` })),
			);
			let isOver = false;
			work.then(
				() => {
					isOver = true;
				},
				() => {},
			);
			await lab.world.clock.settle();
			for (let i = 0; i < steps && !isOver; i++) await lab.world.clock.advanceToNext();
			await lab.restart("power cut");
			const found = await lab.offsets();
			expect(lab.rows.map((key) => Number(key.split("\0")[3]))).toEqual(found);
			if (isOver) expect(found).toEqual(offsets);
			if (isOver) expect(lab.losses.length).toBe(2 + 1);
			await lab.hold(offsets);
			expect(await lab.offsets()).toEqual(offsets);
			expect(lab.world.broker.catalog.lostRecords()).toBe(3);
		}
	});

	it("holds what its topic takes: without its value, or only where it was, and says so", async () => {
		const lab = new Lab();
		await lab.fill([["small", "x".repeat(2000), "y"]]);
		lab.world.broker.topics.create({ name: ASIDE, partitions: 1, config: { "max.message.bytes": "700" } });
		await lab.hold([0, 1]);
		const wide = encodeBatch([
			{ timestamp: 7, key: Buffer.alloc(900, 65), value: Buffer.from("v"), headers: [] },
			{ timestamp: 8, key: null, value: null, headers: [{ key: "h", value: Buffer.alloc(900) }] },
		]);
		await lab.append(lab.t, wide, 2);
		await lab.hold([3, 4]);
		await lab.hold([2], "z".repeat(900));
		const held = await lab.held();
		expect(held.map((record) => [text(record.key), text(record.value), header(record, "left.out")])).toEqual([
			["key 0", "small", undefined],
			[null, null, expect.stringMatching(/^the value of 2000 bytes: topic __headwater_quarantine takes 700 bytes$/)],
			[null, null, expect.stringMatching(/^the value of 1 bytes, key and headers: /)],
			[null, null, expect.stringMatching(/^the value of 0 bytes, key and headers: /)],
		]);
		// Not even what says why fits: the ledger has it, and nobody tries again.
		expect(lab.rows.length).toBe(5);
		expect(lab.world.broker.catalog.lostRecords()).toBe(5);
	});

	it("holds what has no key although somebody made its topic a compacted one", async () => {
		const lab = new Lab();
		await lab.fill([["a", "b"]]);
		lab.world.broker.topics.create({ name: ASIDE, partitions: 1, config: { "cleanup.policy": "compact" } });
		await lab.hold([0, 1]);
		expect((await lab.held()).map(({ key }) => text(key))).toEqual(["key 0", "t-0-1"]);
	});

	it("does not wait for what is no longer there, and has it in the ledger", async () => {
		const lab = new Lab();
		await lab.fill([["a", "b"], ["c"]]);
		lab.t.segments.logStartOffset = 2;
		await lab.hold([0, 1, 2]);
		expect(await lab.offsets()).toEqual([2]);
		expect(lab.losses).toEqual([[0, 3, "not sent upstream: too old"]]);
		const { t } = lab;
		lab.world.broker.topics.delete("t");
		await lab.hold([2], "too old", t);
		expect((await lab.held()).length).toBe(1);
	});

	it("enters in the ledger what is new, in as few entries as there are reasons", async () => {
		const lab = new Lab();
		await lab.fill([["a", "b", "c", "d", "e", "f"]]);
		await lab.hold([1]);
		const reasons = ["too old", "too old", "too large", "too large", "too old", "too old"];
		const { t: partition } = lab;
		await lab.world.finish(lab.quarantine.hold(reasons.map((reason, offset) => ({ partition, offset, reason }))));
		expect(lab.losses.map(([first, count]) => [first, count])).toEqual([
			[1, 1],
			[0, 1],
			[2, 2],
			[4, 2],
		]);
	});

	it("forgets what nobody will send again, and that of a deleted topic", async () => {
		const lab = new Lab();
		await lab.fill([["a", "b", "c"], Array.from({ length: 10 }, () => "d")]);
		await lab.hold([0, 2, 9, 10, 12]);
		const other = lab.world.partition("t", 1) as Partition;
		await lab.append(other, encodeBatch([{ timestamp: 1, key: null, value: null, headers: [] }]), 1);
		await lab.hold([0], "too old", other);
		lab.quarantine.forget(lab.t, 10);
		const id = lab.world.broker.topics.get("t")?.id;
		expect(lab.rows.sort()).toEqual([`q\0${id}\x000\x0010`, `q\0${id}\x000\x0012`, `q\0${id}\x001\x000`]);
		lab.world.broker.topics.delete("t");
		expect(lab.rows).toEqual([]);
	});

	it("rejects where the ledger cannot be written; the next try enters it, and holds nothing twice", async () => {
		const lab = new Lab();
		await lab.fill([["a", "b"]]);
		vi.spyOn(lab.world.broker.catalog, "recordLoss").mockImplementationOnce(() => {
			throw Object.assign(new Error("database or disk is full"), { code: "SQLITE_FULL" });
		});
		await expect(lab.hold([0, 1])).rejects.toThrow("full");
		expect([await lab.offsets(), lab.losses]).toEqual([[0, 1], []]);
		await lab.hold([0, 1]);
		expect([await lab.offsets(), lab.losses]).toEqual([[0, 1], [[0, 2, "not sent upstream: too old"]]]);
	});
});
