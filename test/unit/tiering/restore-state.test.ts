/** The rows that a restored data directory begins with. */
import { describe, expect, it } from "vitest";
import { decodeOffset, encodeOffset, offsetKey } from "../../../src/broker/groups/offset-rows.ts";
import { StateSpace } from "../../../src/log/state-spaces.ts";
import { restoredState } from "../../../tiering/restore/restore-state.ts";
import type { SnapshotRow } from "../../../tiering/restore/snapshot.ts";

const { KAFKA_GROUP, KAFKA_OFFSET, KAFKA_PRODUCER_IDS, MQTT_SESSION, MQTT_RETAINED } = StateSpace;
const ID = "3f0c1a52-8d9e-4f3b-9a51-0c6f2f6d7e11";
const OTHER = "4f0c1a52-8d9e-4f3b-9a51-0c6f2f6d7e22";
const NOW = 5000;

const group = (key: string): SnapshotRow => ({ space: KAFKA_GROUP, key, value: Buffer.alloc(13, 1) });
const offset = (name: string, topic: string, partition: number, at: number, topicId = ID): SnapshotRow => {
	const value = encodeOffset({
		topicId,
		offset: at,
		leaderEpoch: 2,
		metadata: "m",
		committedMs: 1,
		expiresMs: undefined,
	});
	return { space: KAFKA_OFFSET, key: offsetKey(name, topic, partition), value };
};

function restored(...rows: SnapshotRow[]) {
	const topics = new Map([["t", { id: ID, endOffsets: new Map([[0, 10]]) }]]);
	return [...restoredState(rows, { topics, aborted: [], nowMs: NOW })];
}

const offsets = (...rows: SnapshotRow[]) =>
	restored(...rows)
		.filter(({ space }) => space === KAFKA_OFFSET)
		.map(({ value }) => decodeOffset(value as Buffer));

describe("an offset", () => {
	it("counts as committed now, and as it was in all else", () => {
		expect(offsets(group("g"), offset("g", "t", 0, 7))).toEqual([
			{ topicId: ID, offset: 7, leaderEpoch: 2, metadata: "m", committedMs: NOW, expiresMs: undefined },
		]);
	});

	it("goes no farther than the records do", () => {
		expect(offsets(group("g"), offset("g", "t", 0, 11))[0]?.offset).toBe(10);
	});

	it("of another topic of that name, of no topic, of no partition, or without its group, is left out", () => {
		const rows = [
			offset("g", "t", 0, 7, OTHER),
			offset("g", "u", 0, 7),
			offset("g", "t", 1, 7),
			offset("h", "t", 0, 7),
		];
		expect(offsets(group("g"), ...rows)).toEqual([]);
	});

	it("that cannot be read is left out", () => {
		const { key, value } = offset("g", "t", 0, 7);
		const cut = { space: KAFKA_OFFSET, key, value: value.subarray(0, 20) };
		const later = { space: KAFKA_OFFSET, key, value: Buffer.concat([Buffer.of(2), value.subarray(1)]) };
		expect(offsets(group("g"), cut, later)).toEqual([]);
	});
});

it("rows of other kinds are not taken, whoever put them there", () => {
	const spaces = restored(
		{ space: MQTT_SESSION, key: "c", value: Buffer.of(1) },
		{ space: MQTT_RETAINED, key: "t", value: Buffer.of(1) },
		{ space: 999, key: "t", value: Buffer.of(1) },
	).map(({ space }) => space);
	expect(spaces).toEqual([MQTT_RETAINED, KAFKA_PRODUCER_IDS]);
});
