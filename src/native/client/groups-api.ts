/** The client's requests about consumer groups. */
import { MESSAGE } from "../codec/protocol.ts";
import type { Shape } from "../codec/shape.ts";
import type { Call } from "./client.ts";
import type { Fields } from "./link.ts";
import type { GroupDescription, GroupInfo, GroupsApi } from "./types.ts";
import { wholeNumber } from "./wire.ts";

const uint: Shape = { kind: "uint" };
const text: Shape = { kind: "text" };

function list(...of: [string, Shape][]): Shape {
	return { kind: "array", of: { kind: "tuple", of } };
}

const groupsAnswer: Shape = {
	kind: "body",
	fields: { 0: { name: "groups", shape: list(["name", text], ["state", text], ["protocol type", text]) } },
};
const descriptionAnswer: Shape = {
	kind: "body",
	fields: {
		0: { name: "name", shape: text },
		1: { name: "state", shape: text },
		2: { name: "protocol type", shape: text },
		3: { name: "protocol", shape: text },
		4: {
			name: "members",
			shape: list(
				["id", text],
				["instance id", { kind: "orNull", of: text }],
				["client id", text],
				["host", text],
				["assigned", list(["topic", text], ["partitions", { kind: "array", of: uint }])],
			),
		},
		5: {
			name: "places",
			shape: list(
				["topic", text],
				["partition", uint],
				["offset", { kind: "orNull", of: uint }],
				["metadata", text],
				["log start", uint],
				["high watermark", uint],
			),
		},
	},
};

/** `call` sends a request and gives its checked answer. */
export function groupsApi(call: (call: Call) => Promise<Fields>): GroupsApi {
	return {
		list: () =>
			call({
				name: "group list",
				type: MESSAGE.GROUP_LIST,
				shape: groupsAnswer,
				repeatable: true,
				write: (writer) => void writer.map(0),
			}).then((body) =>
				(body.get(0) as [string, string, string][]).map(
					([name, state, protocolType]): GroupInfo => ({ name, state, protocolType }),
				),
			),
		describe: (name) =>
			call({
				name: "group describe",
				type: MESSAGE.GROUP_DESCRIBE,
				shape: descriptionAnswer,
				repeatable: true,
				write: (writer) => void writer.map(1).uint(0).text(name),
			}).then(groupDescription),
		setOffsets: (name, offsets) =>
			call({
				name: "group offsets",
				type: MESSAGE.GROUP_OFFSETS,
				shape: undefined,
				repeatable: true,
				write: (writer) => {
					writer.map(2).uint(0).text(name).uint(1).array(offsets.length);
					for (const { topic, partition, offset } of offsets)
						writer.array(3).text(topic).uint(wholeNumber(partition, "partition")).uint(wholeNumber(offset, "offset"));
				},
			}).then(() => undefined),
		delete: (name) =>
			call({
				name: "group delete",
				type: MESSAGE.GROUP_DELETE,
				shape: undefined,
				repeatable: false,
				write: (writer) => void writer.map(1).uint(0).text(name),
			}).then(() => undefined),
	};
}

function groupDescription(fields: Fields): GroupDescription {
	const members = fields.get(4) as [string, string | null, string, string, [string, number[]][]][];
	const places = fields.get(5) as [string, number, number | null, string, number, number][];
	return {
		name: fields.get(0) as string,
		state: fields.get(1) as string,
		protocolType: fields.get(2) as string,
		protocol: fields.get(3) as string,
		members: members.map(([memberId, instanceId, clientId, host, assigned]) => ({
			memberId,
			instanceId,
			clientId,
			host,
			assigned: assigned.map(([topic, partitions]) => ({ topic, partitions })),
		})),
		partitions: places.map(([topic, partition, offset, metadata, logStartOffset, highWatermark]) => ({
			topic,
			partition,
			offset,
			metadata,
			logStartOffset,
			highWatermark,
			lag: offset === null ? null : Math.max(highWatermark - offset, 0),
		})),
	};
}
