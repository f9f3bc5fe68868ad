/** The client's requests about tiered storage. */
import { MESSAGE } from "../codec/protocol.ts";
import type { Shape } from "../codec/shape.ts";
import type { Call } from "./client.ts";
import type { Fields } from "./link.ts";
import type { TierApi, TierFinding, TierRange, TierStatus, TierVerified } from "./tier-types.ts";
import { plain } from "./wire.ts";

/** An upload takes as long as the link and its budget make it; no timer of Node's is much longer. */
const RUN_MS = 1_000_000_000;

const uint: Shape = { kind: "uint" };
const text: Shape = { kind: "text" };
const done: Shape = {
	kind: "tuple",
	of: [
		["objects", uint],
		["bytes", uint],
		["ranges", uint],
	],
};

const statusAnswer: Shape = { kind: "body", fields: { 0: { name: "status", shape: { kind: "any" } } } };
const rangesAnswer: Shape = {
	kind: "body",
	fields: {
		0: {
			name: "ranges",
			shape: {
				kind: "array",
				of: {
					kind: "tuple",
					of: [
						["topic", text],
						["partition", uint],
						["base offset", uint],
						["next offset", uint],
						["stored bytes", uint],
						["raw bytes", uint],
						["latest timestamp", { kind: "orNull", of: uint }],
						["object", text],
					],
				},
			},
		},
		1: { name: "more", shape: { kind: "bool" } },
	},
};
const verifyAnswer: Shape = { kind: "body", fields: { 0: { name: "done", shape: done } } };
const findings: Shape = {
	kind: "body",
	fields: {
		0: {
			name: "findings",
			shape: {
				kind: "array",
				of: {
					kind: "tuple",
					of: [
						["kind", text],
						["object", text],
						["what", text],
					],
				},
			},
		},
		1: { name: "done", shape: done },
	},
};

/** `call` sends a request and gives its checked answer. */
export function tierApi(call: (call: Call) => Promise<Fields>): TierApi {
	return {
		status: () =>
			call({
				name: "tier status",
				type: MESSAGE.TIER_STATUS,
				shape: statusAnswer,
				repeatable: true,
				write: (writer) => void writer.map(0),
			}).then((body) => plain(body.get(0)) as TierStatus),
		run: ({ signal } = {}) =>
			call({
				name: "tier run",
				type: MESSAGE.TIER_RUN,
				shape: undefined,
				repeatable: true,
				waitMs: RUN_MS,
				signal,
				write: (writer) => void writer.map(0),
			}).then(() => undefined),
		async *ranges(topic) {
			let after: TierRange | undefined;
			for (;;) {
				const body = await rangesPage(call, topic, after);
				const page = (body.get(0) as WireRange[]).map(tierRange);
				yield* page;
				after = page.at(-1);
				if (body.get(1) !== true || after === undefined) return;
			}
		},
		verify: ({ deep = false, found, progress, signal } = {}) =>
			call({
				name: "tier verify",
				type: MESSAGE.TIER_VERIFY,
				shape: verifyAnswer,
				repeatable: false,
				signal,
				parts: {
					type: MESSAGE.TIER_FINDINGS,
					shape: findings,
					received: (body) => {
						for (const [kind, object, what] of body.get(0) as [TierFinding["kind"], string, string][])
							found?.({ kind, object, what });
						progress?.(verified(body.get(1)));
					},
				},
				write: (writer) => void writer.map(1).uint(0).bool(deep),
			}).then((body) => verified(body.get(0))),
	};
}

function rangesPage(
	call: (call: Call) => Promise<Fields>,
	topic: string | undefined,
	after: TierRange | undefined,
): Promise<Fields> {
	return call({
		name: "tier ranges",
		type: MESSAGE.TIER_RANGES,
		shape: rangesAnswer,
		repeatable: true,
		write: (writer) => {
			writer.map((topic === undefined ? 0 : 1) + (after === undefined ? 0 : 1));
			if (topic !== undefined) writer.uint(0).text(topic);
			if (after === undefined) return;
			writer.uint(1).array(3).text(after.topic).uint(after.partition).uint(after.baseOffset);
		},
	});
}

type WireRange = [string, number, number, number, number, number, number | null, string];

function tierRange(wire: WireRange): TierRange {
	const [topic, partition, baseOffset, nextOffset, storedBytes, rawBytes, maxTimestamp, object] = wire;
	return { topic, partition, baseOffset, nextOffset, storedBytes, rawBytes, maxTimestamp, object };
}

function verified(wire: unknown): TierVerified {
	const [objects, bytes, ranges] = wire as [number, number, number];
	return { objects, bytes, ranges };
}
