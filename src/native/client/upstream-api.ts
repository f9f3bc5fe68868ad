/** The client's requests about the central cluster. */
import { MESSAGE, RESET_TO } from "../codec/protocol.ts";
import type { Shape } from "../codec/shape.ts";
import type { Call } from "./client.ts";
import type { Fields } from "./link.ts";
import type { UpstreamApi, UpstreamResetStep, UpstreamStatus } from "./upstream-types.ts";
import { plain } from "./wire.ts";

/** Beyond the client's time-out: a transaction under way is ended first, and the central cluster asked, over any link. */
const LINK_MS = 120_000;

const uint: Shape = { kind: "uint" };

const statusAnswer: Shape = { kind: "body", fields: { 0: { name: "status", shape: { kind: "any" } } } };
const resetAnswer: Shape = {
	kind: "body",
	fields: {
		0: {
			name: "steps",
			shape: {
				kind: "array",
				of: {
					kind: "tuple",
					of: [
						["topic", { kind: "text" }],
						["partition", uint],
						["from", { kind: "orNull", of: uint }],
						["to", uint],
						["again", uint],
						["skipped", uint],
					],
				},
			},
		},
	},
};

/** `call` sends a request and gives its checked answer. */
export function upstreamApi(call: (call: Call) => Promise<Fields>): UpstreamApi {
	const order = (name: string, type: number): Promise<void> =>
		call({
			name,
			type,
			shape: undefined,
			repeatable: true,
			waitMs: LINK_MS,
			write: (writer) => void writer.map(0),
		}).then(() => undefined);
	return {
		status: () =>
			call({
				name: "upstream status",
				type: MESSAGE.UPSTREAM_STATUS,
				shape: statusAnswer,
				repeatable: true,
				write: (writer) => void writer.map(0),
			}).then((body) => plain(body.get(0)) as UpstreamStatus),
		pause: () => order("upstream pause", MESSAGE.UPSTREAM_PAUSE),
		resume: () => order("upstream resume", MESSAGE.UPSTREAM_RESUME),
		reset: ({ to, topic, execute = false }) =>
			call({
				name: "upstream reset",
				type: MESSAGE.UPSTREAM_RESET,
				shape: resetAnswer,
				// Twice done, it could send once more what had been sent in between.
				repeatable: !execute,
				waitMs: LINK_MS,
				write: (writer) => {
					writer
						.map(topic === undefined ? 2 : 3)
						.uint(0)
						.uint(RESET_TO.indexOf(to));
					if (topic !== undefined) writer.uint(1).text(topic);
					writer.uint(2).bool(execute);
				},
			}).then((body) => (body.get(0) as WireStep[]).map(step)),
	};
}

type WireStep = [string, number, number | null, number, number, number];

function step([topic, partition, from, to, againRecords, skippedRecords]: WireStep): UpstreamResetStep {
	return { topic, partition, from, to, againRecords, skippedRecords };
}
