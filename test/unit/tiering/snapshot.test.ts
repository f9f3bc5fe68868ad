/** Snapshots: taken of a running gateway, read back, and found out where they are damaged. */
import { beforeEach, describe, expect, it } from "vitest";
import { BrokerError, DamageError } from "../../../src/base/errors.ts";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { Catalog } from "../../../src/catalog/catalog.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import { decodeSnapshot, type Snapshot } from "../../../tiering/restore/snapshot.ts";
import { type TakenSnapshot, takeSnapshot } from "../../../tiering/restore/take-snapshot.ts";
import { World } from "../../simulation/world.ts";

const HEAD = { gateway: "gw", incarnation: 2, takenMs: 5, writer: "w", scheduleMs: 60_000 };
const { KAFKA_GROUP, KAFKA_OFFSET, MQTT_RETAINED, MQTT_SESSION } = StateSpace;

function worldWith(catalogImage?: Buffer): World {
	const world = new World(new SimulatedRandom(1), {
		journalFileBytes: 8 * 1024 * 1024,
		journalFilesMax: 3,
		lingerMs: 0,
		topicDefaults: {},
		tearNeighbours: false,
		syncMs: 1,
		...(catalogImage === undefined ? {} : { catalogImage }),
	});
	world.start();
	return world;
}

let world: World;
beforeEach(() => {
	world = worldWith();
});

const take = (bytesMax?: number): Promise<TakenSnapshot> => world.finish(takeSnapshot(world.broker, HEAD, bytesMax));
const snapshot = async (bytesMax?: number): Promise<Snapshot> => decodeSnapshot((await take(bytesMax)).bytes, "b");
const hash = async (): Promise<number> => (await take()).hash;

async function put(space: number, key: string, value: Buffer): Promise<void> {
	world.log.putState(space, key, value);
	await world.finish(world.log.whenCommitted());
}

async function append(topic: string): Promise<void> {
	world.partition(topic, 0)?.appendRecord(1, Buffer.of(1), Buffer.of(7), 0, 1, Buffer.of(0));
	await world.finish(world.log.whenCommitted());
}

describe("a snapshot", () => {
	it("has topics, partitions and rows as they are, and only what a restore may take", async () => {
		const topics = world.broker.topics;
		topics.create({ name: "b", partitions: 300, config: { "retention.ms": "5" } });
		topics.create({ name: "a\u002ddash", partitions: 1 });
		await append("b");
		await put(KAFKA_GROUP, "g\x01\x01ü", Buffer.of(1, 0, 255));
		await put(KAFKA_OFFSET, "g\0b\x000", Buffer.alloc(0));
		await put(MQTT_RETAINED, "x/\u{1f600}", Buffer.from("value"));
		await put(MQTT_SESSION, "x", Buffer.from("value"));
		world.broker.catalog.setMeta("kafka.cluster.id", "id");
		world.broker.catalog.setMeta("another", "secret");
		const taken = await snapshot();
		expect(taken).toMatchObject({ ...HEAD, leftOut: new Map(), meta: new Map([["kafka.cluster.id", "id"]]) });
		expect(taken.topics).toEqual(
			topics.list().map(({ id, name, createdMs, config, partitions }) => ({
				id,
				name,
				createdMs,
				config,
				partitions: partitions.map((each) => ({
					id: each.id,
					number: each.number,
					logStartOffset: 0,
					tieredOffset: 0,
					endOffset: name === "b" && each.number === 0 ? 1 : 0,
					epochs: [{ epoch: 0, startOffset: 0 }],
				})),
			})),
		);
		expect(taken.rows.map(({ space, key, value }) => [space, key, value.toString("latin1")])).toEqual([
			[KAFKA_GROUP, "g\x01\x01ü", "\x01\x00\xff"],
			[KAFKA_OFFSET, "g\0b\x000", ""],
			[MQTT_RETAINED, "x/\u{1f600}", "value"],
		]);
	});

	it("has the epochs and the places of a partition that was restored", async () => {
		let image: Buffer | undefined;
		const onCommit = (takeImage: () => Buffer) => {
			image = takeImage();
		};
		const catalog = new Catalog({ image: undefined, onCommit });
		const epochs = [
			{ epoch: 0, startOffset: 0 },
			{ epoch: 3, startOffset: 50 },
		];
		const partitions = [{ id: 4, number: 0, logStartOffset: 20, endOffset: 60, epochs }];
		const id = "3f0c1a52-8d9e-4f3b-9a51-0c6f2f6d7e11";
		catalog.restoreTopics([{ id, name: "t", createdMs: 1, config: {}, partitions }]);
		catalog.close();
		world = worldWith(image);
		expect((await snapshot()).topics[0]?.partitions).toEqual([
			{ id: 4, number: 0, logStartOffset: 20, tieredOffset: 0, endOffset: 60, epochs },
		]);
	});

	it("takes rows while there is room, groups before retained messages, and says from where on they are left out", async () => {
		world.broker.topics.create({ name: "a" });
		for (let i = 0; i < 500; i++)
			world.log.putState(MQTT_RETAINED, `t/${String(i).padStart(3, "0")}`, Buffer.alloc(300));
		await put(KAFKA_GROUP, "g", Buffer.alloc(13));
		const all = await take();
		const few = await take(50_000);
		expect(few.bytes.length).toBeLessThan(51_000);
		const { rows, leftOut } = decodeSnapshot(few.bytes, "b");
		expect(rows[0]).toMatchObject({ space: KAFKA_GROUP, key: "g" });
		expect(leftOut).toEqual(new Map([[MQTT_RETAINED, `t/${String(rows.length - 1).padStart(3, "0")}`]]));
		expect(rows.length).toBeGreaterThan(50);
		expect(decodeSnapshot(all.bytes, "b").rows).toHaveLength(501);
	});

	it("leaves the event loop to others in between", async () => {
		world.broker.topics.create({ name: "b", partitions: 1000 });
		let others = 0;
		let done = false;
		const other = (): void => {
			others++;
			if (!done) world.clock.soon(other);
		};
		world.clock.soon(other);
		const taking = takeSnapshot(world.broker, HEAD).finally(() => {
			done = true;
		});
		await world.finish(taking);
		expect(others).toBeGreaterThan(6);
	});

	it("is without a topic that is deleted meanwhile", async () => {
		world.broker.topics.create({ name: "a", partitions: 500 });
		world.broker.topics.create({ name: "b" });
		const taking = takeSnapshot(world.broker, HEAD);
		world.broker.topics.delete("b");
		expect(decodeSnapshot((await world.finish(taking)).bytes, "b").topics.map(({ name }) => name)).toEqual(["a"]);
	});
});

describe("the hash of a snapshot", () => {
	beforeEach(() => {
		world.broker.topics.create({ name: "a" });
	});

	it("stays as long as only records come", async () => {
		const before = await hash();
		await append("a");
		expect(await hash()).toBe(before);
		await world.clock.advance(1000);
		expect(await hash()).toBe(before);
	});

	it.each<[string, () => unknown]>([
		["a topic", () => world.broker.topics.create({ name: "b" })],
		["a partition", () => world.broker.topics.alter("a", { partitions: 2 })],
		["a setting", () => world.broker.topics.alter("a", { set: { "retention.ms": "7" } })],
		["an offset", () => put(KAFKA_OFFSET, "g\0a\x000", Buffer.of(1))],
		["a retained message", () => put(MQTT_RETAINED, "t", Buffer.of(1))],
	])("changes with %s", async (_what, change) => {
		const before = await hash();
		await change();
		expect(await hash()).not.toBe(before);
	});
});

describe("a snapshot that is damaged", () => {
	let bytes: Buffer;
	beforeEach(async () => {
		world.broker.topics.create({ name: "a", partitions: 2 });
		await put(KAFKA_GROUP, "g", Buffer.of(1, 2, 3));
		bytes = (await take()).bytes;
	});

	it("is refused when it is cut short anywhere, or something follows", () => {
		for (let length = 0; length < bytes.length; length++)
			expect(() => decodeSnapshot(bytes.subarray(0, length), "b"), `${length}`).toThrow(DamageError);
		expect(() => decodeSnapshot(Buffer.concat([bytes, Buffer.from("{}\n")]), "b")).toThrow(DamageError);
	});

	it.each<[string, string, string]>([
		["a line that is none", '{"space":', '{"spice":'],
		["a partition out of order", '{"partition":1', '{"partition":2'],
		["a partition id twice", '"id":2', '"id":1'],
		["a topic's id that is none", '{"topic":"', '{"topic":"x'],
		["an offset that is none", '"start":0', '"start":-1'],
		["an end before the start", '"start":0', '"start":9'],
		["a value that is no base64", '"value":"AQID"', '"value":"AQ.D"'],
		["settings that are none", '"config":{}', '"config":{"a":1}'],
		["another number of lines", '"lines":', '"lines":1'],
		["no JSON", '{"lines"', '{lines"'],
		[
			"epochs that go back",
			'"tiered":0',
			'"epochs":[{"epoch":1,"startOffset":5},{"epoch":2,"startOffset":5}],"tiered":0',
		],
	])("is refused for %s", (_what, from, to) => {
		const text = bytes.toString();
		expect(text).toContain(from);
		const changed = Buffer.from(text.replace(from, to));
		expect(() => decodeSnapshot(changed, "the-bundle")).toThrow(/^the-bundle at byte \d+: the snapshot: /);
	});

	it("of a later format is told from one that is damaged", () => {
		const later = Buffer.from(bytes.toString().replace('"snapshot":1', '"snapshot":2'));
		expect(() => decodeSnapshot(later, "b")).toThrow(BrokerError);
		expect(() => decodeSnapshot(later, "b")).toThrow(/format 2.*newer/);
	});

	it("is none for members that a later version may add", () => {
		const more = Buffer.from(bytes.toString().replaceAll('{"', '{"colour":"blue","'));
		expect(decodeSnapshot(more, "b")).toEqual(decodeSnapshot(bytes, "b"));
	});
});
