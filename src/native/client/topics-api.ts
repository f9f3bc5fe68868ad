/** The client's requests about topics. */
import { MESSAGE } from "../codec/protocol.ts";
import type { Call } from "./client.ts";
import type { Fields } from "./link.ts";
import type { TopicsApi } from "./types.ts";
import { ANSWERS, encodeConfig, topicDescription, topicInfo, wholeNumber } from "./wire.ts";

/** `call` sends a request and gives its checked answer. */
export function topicsApi(call: (call: Call) => Promise<Fields>): TopicsApi {
	return {
		create: ({ name, partitions, config, ifNotExists }) =>
			call({
				name: "topic create",
				type: MESSAGE.TOPIC_CREATE,
				shape: ANSWERS.topic,
				repeatable: ifNotExists === true,
				write: (writer) => {
					writer.map(2 + (partitions === undefined ? 0 : 1) + (config === undefined ? 0 : 1));
					writer.uint(0).text(name);
					if (partitions !== undefined) writer.uint(1).uint(wholeNumber(partitions, "partitions"));
					if (config !== undefined) encodeConfig(writer.uint(2), config);
					writer.uint(3).bool(ifNotExists === true);
				},
			}).then(topicInfo),
		list: () =>
			call({
				name: "topic list",
				type: MESSAGE.TOPIC_LIST,
				shape: ANSWERS.topics,
				repeatable: true,
				write: (writer) => void writer.map(0),
			}).then((body) => (body.get(0) as Fields[]).map(topicInfo)),
		describe: (name) =>
			call({
				name: "topic describe",
				type: MESSAGE.TOPIC_DESCRIBE,
				shape: ANSWERS.description,
				repeatable: true,
				write: (writer) => void writer.map(1).uint(0).text(name),
			}).then(topicDescription),
		alter: (name, { set, unset, partitions }) =>
			call({
				name: "topic alter",
				type: MESSAGE.TOPIC_ALTER,
				shape: ANSWERS.topic,
				repeatable: true,
				write: (writer) => {
					const given = [partitions, set, unset].filter((change) => change !== undefined);
					writer
						.map(1 + given.length)
						.uint(0)
						.text(name);
					if (partitions !== undefined) writer.uint(1).uint(wholeNumber(partitions, "partitions"));
					if (set !== undefined) encodeConfig(writer.uint(2), set);
					if (unset === undefined) return;
					writer.uint(3).array(unset.length);
					for (const setting of unset) writer.text(setting);
				},
			}).then(topicInfo),
		delete: (name) =>
			call({
				name: "topic delete",
				type: MESSAGE.TOPIC_DELETE,
				shape: undefined,
				repeatable: false,
				write: (writer) => void writer.map(1).uint(0).text(name),
			}).then(() => undefined),
	};
}
