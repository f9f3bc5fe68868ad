import { describe, expect, it } from "vitest";
import { murmur2, partitionForKey } from "../../../src/record/partitioner.ts";

describe("murmur2", () => {
	// From UtilsTest.testMurmur2 of kafka-clients.
	it.each([
		["21", -973932308],
		["foobar", -790332482],
		["a-little-bit-long-string", -985981536],
		["a-little-bit-longer-string", -1486304829],
		["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971],
		["abc", 479470107],
	])("of %s is Kafka's", (text, hash) => {
		expect(murmur2(Buffer.from(text))).toBe(hash);
	});

	it("chooses the partition from the hash without its sign", () => {
		expect(partitionForKey(Buffer.from("abc"), 10)).toBe(7);
		expect(partitionForKey(Buffer.from("21"), 1000)).toBe((-973932308 & 0x7fffffff) % 1000);
		expect(partitionForKey(Buffer.from("21"), 1)).toBe(0);
	});
});
