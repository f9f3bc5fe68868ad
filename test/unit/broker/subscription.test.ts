import { expect, it } from "vitest";
import { SimulatedRandom } from "../../../src/base/random-simulated.ts";
import { assignedPartitions, subscribedTopics } from "../../../src/broker/groups/subscription.ts";

const bytes = (text: string) => Buffer.from(text, "latin1");
const SUBSCRIPTION = bytes("\0\x03\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0");
const ASSIGNMENT = bytes("\0\0\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\0\0\0\x01\x02\0\x02bc\0\0\0\0\xff\xff\xff\xff");

it("what consumers say is read, in whatever version", () => {
	expect(subscribedTopics(SUBSCRIPTION)).toEqual(["a", "bc"]);
	expect(assignedPartitions(ASSIGNMENT)).toEqual([
		["a", [0, 258]],
		["bc", []],
	]);
	expect([subscribedTopics(bytes("\0\0\0\0\0\0")), assignedPartitions(bytes("\0\0\0\0\0\0"))]).toEqual([[], []]);
});

it("what is cut short, negative or nonsense is none, and never an error", () => {
	for (let length = 0; length < 12; length++)
		expect(subscribedTopics(SUBSCRIPTION.subarray(0, length))).toBeUndefined();
	for (let length = 0; length < 29; length++)
		expect(assignedPartitions(ASSIGNMENT.subarray(0, length))).toBeUndefined();
	expect(assignedPartitions(bytes("\0\0\0\0\0\x01\0\x01a\0\0\0\x01\xff\xff\xff\xff"))).toBeUndefined();
	expect(subscribedTopics(bytes("\xff\xff\0\0\0\0"))).toBeUndefined();
	expect(subscribedTopics(bytes("\0\0\x7f\xff\xff\xff\0\0"))).toBeUndefined();
	const random = new SimulatedRandom("nonsense");
	for (let i = 0; i < 2000; i++) {
		const nonsense = Buffer.concat([
			Buffer.from([0, 0, 0, 0, 0, random.between(0, 3)]),
			random.bytes(random.between(0, 40)),
		]);
		for (const read of [subscribedTopics, assignedPartitions]) expect(() => read(nonsense)).not.toThrow();
	}
});
