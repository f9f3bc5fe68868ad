/** The client beside gateways of earlier versions: what they do not say yet. */
import { expect, it } from "vitest";
import { ANSWERS, check, topicDescription } from "../../../src/native/client/wire.ts";

it("a topic of a gateway from before tiered storage is all here", () => {
	const topic = new Map<number, unknown>([
		[0, "t"],
		[1, "id"],
		[2, 1],
		[3, new Map()],
		[4, 0],
	]);
	const answer = new Map<number, unknown>([
		[0, topic],
		[1, []],
		[2, [[0, 5, 9, 9, 100, 1]]],
	]);
	check(answer, ANSWERS.description, "topic describe");
	expect(topicDescription(answer).partitions).toEqual([
		expect.objectContaining({ logStartOffset: 5, localStartOffset: 5, tieredOffset: 0, highWatermark: 9 }),
	]);
});
