/** The trace that cuts loops over several brokers. */
import { expect, it } from "vitest";
import { encodeForwardedProperties } from "../../../bridge/mqtt/publish-writer.ts";
import { HOP_PROPERTY, hasLooped, hasLoopedBlock, hopOf } from "../../../bridge/mqtt/remote/hops.ts";

const hops = (...values: string[]) => ({
	contentType: "text/plain",
	userProperties: [["unit", "K"] as const, ...values.map((value) => [HOP_PROPERTY, value] as const)],
});

it("is found in properties and in their encoded form alike", () => {
	const cases: [string[], boolean][] = [
		[[], false],
		[["a@1111"], false],
		[["a@1111", "b@2222"], true],
		[["2222"], false],
		[Array.from({ length: 15 }, (_, i) => `x@${i}`), false],
		[Array.from({ length: 16 }, (_, i) => `x@${i}`), true],
	];
	for (const [values, looped] of cases) {
		expect(hasLooped(hops(...values), "2222")).toBe(looped);
		expect(hasLoopedBlock(encodeForwardedProperties(hops(...values)), "2222")).toBe(looped);
	}
	expect(hasLooped(undefined, "2222")).toBe(false);
});

it("is written as a user property", () => {
	expect(hopOf("headwater-site", "2222")).toEqual(
		encodeForwardedProperties({ userProperties: [[HOP_PROPERTY, "headwater-site@2222"]] }),
	);
});

it("does not read past the end of what is cut off", () => {
	const block = encodeForwardedProperties(hops("a@2222"));
	for (let length = 0; length < block.length; length++) hasLoopedBlock(block.subarray(0, length), "2222");
	expect(hasLoopedBlock(block, "2222")).toBe(true);
});
